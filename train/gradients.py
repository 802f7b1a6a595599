"""What is wrong with a gradient is found before it reaches the weights, and has a name."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from train.meter import NonFiniteLossError

ANOMALY = "returned nan values"  # as torch.autograd words what --detect-anomaly has found


def check_gradient(
    parameters: Sequence[nn.Parameter],
    norm: Tensor | None,
    step: int,
    read_terms: Callable[[], None],
    forward: Callable[[], dict[str, Tensor]],
) -> None:
    """Refuse gradients that are not finite. Of a step it is all that waits for a GPU.

    Args:
        parameters: whose gradients have been added up for an optimizer step.
        norm: of all these gradients, a scalar, where it is known from clipping them.
        step: its number.
        read_terms: raises where a loss term is not finite itself, as `Meter.read` does.
        forward: the loss terms of the step's last batch again, to find the one that is to blame.

    Raises:
        NonFiniteLossError: naming the step and the term; no weight has been changed.
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
    """The term whose own gradient is not finite; `loss` where that is so of their sum alone."""
    trained = [each for each in parameters if each.requires_grad]
    for name in forward():
        term = forward()[name]  # anew: a compiled graph can be gone through once
        if name == "loss" or not term.requires_grad:
            continue
        gradients = torch.autograd.grad(term, trained, allow_unused=True)
        if not all(each is None or bool(each.isfinite().all()) for each in gradients):
            return name
    return "loss"


@contextmanager
def anomalies_told(step: int) -> Iterator[None]:
    """Make one line of what `--detect-anomaly` finds; PyTorch has shown the operation before.

    Raises:
        NonFiniteLossError: naming the step and the operation.
    """
    try:
        yield
    except RuntimeError as error:
        if ANOMALY not in str(error):
            raise
        raise NonFiniteLossError(f"step {step}: {error} Its call is shown above") from error
