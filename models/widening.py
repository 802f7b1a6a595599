"""Start a wide network where a narrow one has ended: more channels, the same logits.

Each channel becomes several that are alike, and what reads it reads a share of each (Chen,
Goodfellow and Shlens, Net2Net, ICLR 2016, section 2.2). The paper takes equal shares and adds
noise, so that training tells the copies apart; here the shares are random and sum to 1, which keeps
the logits.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.segmenter import Segmenter

SPREAD = 0.5  # of a share around an equal one


def widen(narrow: Segmenter, wide: Segmenter, seed: int = 0) -> None:
    """Give ``wide`` weights with which it computes what ``narrow`` does.

    Args:
        narrow: left as it is.
        wide: network of the same depths, heads and classes, whose widths are multiples, such as a
            SegformerB1 for a SegformerB0.
        seed: of the shares.

    Raises:
        ValueError: ``wide`` is no such network.
    """
    source, target = narrow.state_dict(), wide.state_dict()
    if (
        source.keys() != target.keys()
        or _heads(narrow) != _heads(wide)
        or not all(_is_multiple(target[key].shape, source[key].shape) for key in source)
    ):
        raise ValueError(
            f"{wide.name} is no wider {narrow.name}: it takes one with the same number of blocks, "
            "attention heads and classes, and widths that are multiples"
        )
    generator = torch.Generator().manual_seed(seed)
    for key, weight in source.items():
        value = _widen(weight, target[key].shape, generator)
        if key.endswith((".q.weight", ".q.bias")):
            # Products of longer queries and keys sum more copies; attention divides by the root.
            value = value / math.sqrt(value.shape[0] / weight.shape[0])
        target[key].copy_(value)


def _heads(model: nn.Module) -> list[int]:
    found = (getattr(module, "num_heads", None) for module in model.modules())
    return [heads for heads in found if isinstance(heads, int)]


def _is_multiple(wide: Sequence[int], narrow: Sequence[int]) -> bool:
    return len(wide) == len(narrow) and all(
        more % less == 0 for more, less in zip(wide, narrow, strict=True)
    )


def _widen(weight: Tensor, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Repeat what a layer yields, its first dimension, and share out what it reads, the second."""
    if weight.ndim == 0:
        return weight
    weight = weight.repeat_interleave(shape[0] // weight.shape[0], dim=0)
    if weight.ndim == 1:
        return weight
    copies = shape[1] // weight.shape[1]
    deviations = torch.rand((*weight.shape[:2], copies), generator=generator) - 0.5
    deviations -= deviations.mean(-1, keepdim=True)
    shares = (1 + 2 * SPREAD * deviations) / copies
    shares = shares.flatten(1)[(..., *[None] * (weight.ndim - 2))]
    return weight.repeat_interleave(copies, dim=1) * shares
