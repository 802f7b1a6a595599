"""Grow a trained network: more channels and blocks, the same logits.

Each channel is copied, and the weights of the layers that read it are shared out over the copies
(Chen, Goodfellow and Shlens, Net2Net, ICLR 2016, section 2.2). The paper uses equal shares and adds
noise so that training can tell the copies apart; here the shares are random and sum to 1, which
keeps the logits. Blocks added at the end of a stage start as the identity (section 2.3): the last
layer of each of their branches is zero, and learns first.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.segmenter import Segmenter

SPREAD = 0.5  # of the random shares around equal ones
LAST_OF_BRANCH = (".attn.proj.weight", ".attn.proj.bias", ".mlp.fc2.weight", ".mlp.fc2.bias")


def grow(small: Segmenter, large: Segmenter, seed: int = 0) -> None:
    """Set the weights of `large` so that it computes the same function as `small`.

    Args:
        small: not changed.
        large: network of the same family, attention heads and classes, with at least as many
            blocks and widths that are multiples, such as a SegformerB3 for a SegformerB0. In new
            blocks only the last layers are changed.
        seed: seed of the shares.

    Raises:
        ValueError: `large` is not such a network.
    """
    source, target = small.state_dict(), large.state_dict()
    if (
        not source.keys() <= target.keys()
        or not all(".block" in key for key in target.keys() - source.keys())
        or not _heads(small).items() <= _heads(large).items()
        or not all(_is_multiple(target[key].shape, source[key].shape) for key in source)
    ):
        raise ValueError(
            f"{large.name} is no larger {small.name}: it takes one of the same family, attention "
            "heads and classes, with as many blocks or more and widths that are multiples"
        )
    generator = torch.Generator().manual_seed(seed)
    for key, value in target.items():
        if key in source:
            value.copy_(_widen(key, source[key], value.shape, generator))
        elif key.endswith(LAST_OF_BRANCH):
            value.zero_()


def _heads(model: nn.Module) -> dict[str, int]:
    found = ((name, getattr(module, "num_heads", None)) for name, module in model.named_modules())
    return {name: heads for name, heads in found if isinstance(heads, int)}


def _is_multiple(large: Sequence[int], small: Sequence[int]) -> bool:
    return len(large) == len(small) and all(
        more % less == 0 for more, less in zip(large, small, strict=True)
    )


def _widen(key: str, weight: Tensor, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Repeat a layer's outputs (dimension 0) and share out its weights over copied inputs (1)."""
    if weight.ndim == 0:
        return weight
    more = shape[0] // weight.shape[0]
    weight = weight.repeat_interleave(more, dim=0)
    if weight.ndim > 1:
        copies = shape[1] // weight.shape[1]
        deviations = torch.rand((*weight.shape[:2], copies), generator=generator) - 0.5
        deviations -= deviations.mean(-1, keepdim=True)
        shares = (1 + 2 * SPREAD * deviations) / copies
        shares = shares.flatten(1)[(..., *[None] * (weight.ndim - 2))]
        weight = weight.repeat_interleave(copies, dim=1) * shares
    # q k^T sums `more` copies, but attention's scale makes up only for the root of `more`.
    return weight / math.sqrt(more) if key.endswith((".q.weight", ".q.bias")) else weight
