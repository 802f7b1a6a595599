"""Find non-finite gradients before they reach the weights, and name the loss term to blame."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from train.meter import NonFiniteLossError

ANOMALY = "returned nan values"  # part of torch.autograd's message for --detect-anomaly


def check_gradient(
    parameters: Sequence[nn.Parameter],
    norm: Tensor | None,
    step: int,
    read_terms: Callable[[], None],
    forward: Callable[[], dict[str, Tensor]],
) -> None:
    """Refuse non-finite gradients. On most steps, nothing else waits for a GPU.

    Args:
        parameters: with gradients accumulated for an optimizer step.
        norm: of all these gradients, a scalar, if known from clipping them.
        step: number of the step.
        read_terms: raises if a loss term itself is not finite, as `Meter.read` does.
        forward: recomputes the loss terms of the step's last batch, to find the one to blame.

    Raises:
        NonFiniteLossError: naming the step and the term; the weights are unchanged.
    """
    if norm is None:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.isfinite():
        return
    read_terms()
    raise NonFiniteLossError(
        f"step {step}: the gradient of loss term '{_find_culprit(parameters, forward)}' is not "
        "finite; the step was not taken. Try a lower --lr, --clip-grad 1, or --amp none; "
        "--detect-anomaly shows the operation"
    )


def _find_culprit(
    parameters: Sequence[nn.Parameter], forward: Callable[[], dict[str, Tensor]]
) -> str:
    """Find the term whose gradient is not finite; `loss` if only that of the sum is not."""
    trained = [each for each in parameters if each.requires_grad]
    for name in forward():
        term = forward()[name]  # recomputed: a compiled graph allows one backward pass
        if name == "loss" or not term.requires_grad:
            continue
        gradients = torch.autograd.grad(term, trained, allow_unused=True)
        if not all(each is None or bool(each.isfinite().all()) for each in gradients):
            return name
    return "loss"


@contextmanager
def anomalies_told(step: int) -> Iterator[None]:
    """Reduce errors of `--detect-anomaly` to one line; PyTorch has already shown the operation.

    Raises:
        NonFiniteLossError: naming the step and the operation.
    """
    try:
        yield
    except RuntimeError as error:
        if ANOMALY not in str(error):
            raise
        raise NonFiniteLossError(f"step {step}: {error} Its call is shown above") from error
