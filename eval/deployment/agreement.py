"""Checks that other runtimes agree with PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from eval.deployment.deploy import TRACED, Deployed

TOLERANCE = 1e-3
CHECKED = ((1, 3, 64, 64), (1, 3, 129, 95), (3, 3, 33, 160))  # none is the size of the trace


@torch.inference_mode()
def compare(
    deployed: Deployed,
    runtime: Callable[[Tensor], Any],
    name: str,
    console: Console,
    exact: bool = True,
    images: list[Tensor] | None = None,
) -> None:
    """Print how far a runtime deviates from PyTorch, at sizes other than that of the trace.

    Args:
        deployed: the reference.
        runtime: returns the same outputs, as tensors or arrays.
        name: of the runtime.
        console: to print to.
        exact: raise if logits differ by more than `TOLERANCE`; otherwise only print.
        images: inputs; by default random ones of the sizes `CHECKED`.

    Raises:
        ValueError: the deviation exceeds the tolerance.
    """
    for image in images or [deployed.example(shape) for shape in CHECKED]:
        assert image.shape != TRACED
        expected, found = deployed(image), runtime(image)
        logits = torch.as_tensor(found[0])
        difference = (logits - expected[0]).abs().max().item()
        same = (logits.argmax(1) == expected[0].argmax(1)).float().mean().item()
        if deployed.with_argmax:
            same = (torch.as_tensor(found[1]) == expected[1]).float().mean().item()
        shape = " x ".join(map(str, image.shape))
        console.print(
            f"{name} against PyTorch, {shape}: logits differ by at most {difference:.1e} "
            f"(largest logit {expected[0].abs().max():.1f}), {100 * same:.2f} % of classes agree"
        )
        if exact and not difference <= TOLERANCE:
            raise ValueError(
                f"{name} differs from PyTorch by {difference:.1e}, more than {TOLERANCE:g}: "
                "nothing was written"
            )
