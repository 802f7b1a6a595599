"""Registry of networks by name.

To add a network family, write one file that declares a `Family` (`models/family.py` says what
it can declare) and add one line to `FAMILIES`. `CONTRIBUTING.md` has an example.
"""

from typing import Any

from models.family import Family
from models.head import SegformerHead
from models.pvt import PVTV2
from models.segformer import SEGFORMER
from models.segmenter import Segmenter

FAMILIES: tuple[Family, ...] = (
    SEGFORMER,
    PVTV2,
)

MODELS = {name: family for family in FAMILIES for name in family.sizes}

HEAD_OPTIONS = ("head_dim", "dropout")


def resolve_name(name: str) -> str:
    """Return the registered spelling of `name`, whatever its case; ValueError if unknown."""
    known = {registered.lower(): registered for registered in MODELS}
    if name.lower() not in known:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(MODELS)}")
    return known[name.lower()]


def build_model(name: str, num_classes: int, **overrides: Any) -> Segmenter:
    """Build a network with fresh weights.

    Args:
        name: a key of `MODELS`, in any case.
        num_classes: channels of the logits.
        overrides: `drop_path_rate`, and for the head `dropout` and `head_dim`. For networks
            small enough to test with: `embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1),
            head_dim=16`.

    Raises:
        ValueError: for an unknown name (the message lists the known ones) or no classes.
    """
    name = resolve_name(name)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}")
    family, size = MODELS[name], MODELS[name].sizes[name]
    head_options = {"head_dim": size.head_dim}
    head_options |= {key: overrides[key] for key in HEAD_OPTIONS if key in overrides}
    arguments = {"embed_dims": size.embed_dims, "depths": size.depths, **size.options}
    arguments |= {k: v for k, v in overrides.items() if k not in HEAD_OPTIONS}
    encoder = family.encoder(**arguments)
    head = SegformerHead(encoder.widths, num_classes, **head_options)
    return Segmenter(encoder, head, num_classes, name=name, overrides=overrides)
