"""Names -> networks.

To add a network, write one file with an encoder (see ``Segmenter`` for what it must have) and add
one line to ``MODELS``. Its arguments there are the published ones; ``build_model`` overrides any.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from models.head import SegformerHead
from models.mit import MixTransformer
from models.pvt import PyramidVisionTransformer
from models.segmenter import Segmenter


@dataclass(frozen=True)
class Architecture:
    """An encoder, its arguments, and the width of the head on it."""

    encoder: Callable[..., nn.Module]
    head_dim: int
    options: dict[str, Any] = field(default_factory=dict)


def _mit(head_dim: int, base: int, head_width: int, *depths: int) -> Architecture:
    """Mix Transformer of SegFormer; ``base`` is the first stage's width."""
    embed_dims = (base, base * 2, base * 5, base * 8)
    options = {"embed_dims": embed_dims, "depths": depths, "head_width": head_width}
    return Architecture(MixTransformer, head_dim, options)


def _pvt(head_dim: int, variant: str, head_width: int) -> Architecture:
    """PVTv2 with the SegFormer head."""
    return Architecture(
        PyramidVisionTransformer, head_dim, {"variant": variant, "head_width": head_width}
    )


MODELS: dict[str, Architecture] = {
    "SegformerB0": _mit(256, 32, 32, 2, 2, 2, 2),
    "SegformerB1": _mit(256, 64, 64, 2, 2, 2, 2),
    "SegformerB2": _mit(768, 64, 64, 3, 4, 6, 3),
    "SegformerB3": _mit(768, 64, 64, 3, 4, 18, 3),
    "SegformerB4": _mit(768, 64, 64, 3, 8, 27, 3),
    "SegformerB5": _mit(768, 64, 64, 3, 6, 40, 3),
    "PVTv2B0": _pvt(256, "pvt_v2_b0", 32),
    "PVTv2B1": _pvt(256, "pvt_v2_b1", 64),
    "PVTv2B2": _pvt(768, "pvt_v2_b2", 64),
    "PVTv2B3": _pvt(768, "pvt_v2_b3", 64),
    "PVTv2B4": _pvt(768, "pvt_v2_b4", 64),
    "PVTv2B5": _pvt(768, "pvt_v2_b5", 64),
}

HEAD_OPTIONS = ("head_dim", "dropout")


def resolve_name(name: str) -> str:
    """Return the registered spelling of ``name``, whatever its case; ValueError if unknown."""
    known = {registered.lower(): registered for registered in MODELS}
    if name.lower() not in known:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(MODELS)}")
    return known[name.lower()]


def build_model(name: str, num_classes: int, **overrides: Any) -> Segmenter:
    """Build a network with fresh weights.

    Args:
        name: a key of ``MODELS``, in any case.
        num_classes: channels of the logits.
        overrides: ``drop_path_rate``, and for the head ``dropout`` and ``head_dim``. For networks
            small enough to test with: ``embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1),
            head_dim=16``.

    Raises:
        ValueError: for an unknown name (the known ones are listed) or no classes.
    """
    name = resolve_name(name)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}")
    architecture = MODELS[name]
    head_options = {"head_dim": architecture.head_dim}
    head_options |= {key: overrides[key] for key in HEAD_OPTIONS if key in overrides}
    encoder_overrides = {k: v for k, v in overrides.items() if k not in HEAD_OPTIONS}
    encoder = architecture.encoder(**(architecture.options | encoder_overrides))
    head = SegformerHead(encoder.widths, num_classes, **head_options)
    return Segmenter(encoder, head, num_classes, name=name, overrides=overrides)
