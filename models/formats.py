"""Recognise a weight file by the keys it holds and bring it to our key names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from models import keys
from models.keys import PVT_PREFIX, State
from models.registry import MODELS

# PVTv2's first two stages widen their feed-forward layers 8 times, SegFormer's 4 times. (B5 differs
# from SegFormer's B5 in name only: there the caller's choice of network decides.)
PVT_MLP_RATIO = 8
CLASSIFIER = "head.linear_pred.weight"
BLOCK = re.compile(
    rf"({re.escape(PVT_PREFIX)}stages\.|encoder\.block)(\d)(?:\.blocks)?\.(\d+)\.norm1\.weight"
)


@dataclass
class Weights:
    """What a file holds.

    Attributes:
        source: file or folder, for messages.
        format: one of ``FORMATS``.
        state: tensors of the network under our keys.
        adapters: tensors of a distillation method's adapters under the file's own keys, if any.
        info: what the file says about itself, see ``models.weights.INFO``.
        overrides: how the network differs from the registered architecture, where the file says so.
    """

    source: str
    format: str
    state: State
    adapters: State | None = None
    info: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int | None:
        """Channels of the classifier; None where the file holds an encoder alone."""
        return len(self.state[CLASSIFIER]) if CLASSIFIER in self.state else None

    @property
    def has_head(self) -> bool:
        """Whether there is a decode head beside the encoder."""
        return any(key.startswith("head.") for key in self.state)


FORMATS = {
    "sekd": "a checkpoint of this project",
    "nvlabs-backbone": "a SegFormer encoder, published layout",
    "nvlabs-segmentor": "a SegFormer segmentor of NVlabs, on mmsegmentation",
    "mmseg": "a SegFormer encoder in mmsegmentation's own layout; its head is another network",
    "published": "a teacher or student of the published SEKD or TransKD code",
    "published-sekd": "a student with adapters of the published SEKD code",
    "published-transkd": "a student with adapters of the published TransKD code",
    "huggingface": "a SegFormer of Hugging Face transformers",
    "timm": "a PVTv2 encoder of timm or of its authors",
}


def identify(names: Iterable[str]) -> str | None:
    """Name the format (a key of ``FORMATS``) that has tensors of these names, None if unknown."""
    names = set(names)

    def has(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if has("encoder.patch_embed1.", PVT_PREFIX):
        return "sekd"
    if has("segformer.encoder.", "encoder.patch_embeddings."):
        return "huggingface"
    if has("student."):
        if has("skfs.", "abfs.", "embed1_linearproject."):
            return "published-transkd"
        return "published-sekd" if has("embeddings.", "embed_projections.") else "published"
    if has("backbone.layers.", "layers.0.0.projection."):
        return "mmseg"
    if has("backbone.patch_embed1."):
        return "nvlabs-segmentor"
    if has("stages.0.blocks."):
        return "timm"
    if has("patch_embed1."):
        return "published" if has("linear_") else "nvlabs-backbone"
    return None


def unwrap(state: State) -> State:
    """Drop the prefixes that DataParallel and torch.compile put before every key."""
    for wrapper in ("module.", "_orig_mod.", "module."):
        if state and all(key.startswith(wrapper) for key in state):
            state = keys.without_prefix(state, wrapper)
    return state


def to_ours(state: State, source: str, prefer_pvt: bool = False) -> Weights:
    """Recognise the layout of a state dict and translate it.

    Keys that belong to no layout are kept, so that strict loading reports them.

    Args:
        state: tensors by name, in any layout of ``FORMATS``.
        source: file or folder, for messages.
        prefer_pvt: read names that SegFormer and PVTv2 share as PVTv2's.

    Raises:
        ValueError: if the layout is unknown.
    """
    state = unwrap(state)
    layout = identify(state)
    if layout is None:
        examples = ", ".join(list(state)[:3]) or "none at all"
        raise ValueError(f"{source}: no layout that is known here (its tensors: {examples})")
    adapters = None
    if layout == "huggingface":
        state = keys.from_huggingface(state)
    elif layout == "timm":
        state = keys.from_timm(state)
    elif layout == "mmseg":
        state = keys.from_mmseg(keys.without_prefix(state, "backbone.") or state)
    elif layout != "sekd":
        if layout.startswith("published-"):
            adapters = {k: v for k, v in state.items() if not k.startswith("student.")}
            state = keys.without_prefix(state, "student.")
        elif layout == "published":
            state = keys.without_prefix(state, "student.") or state
        elif layout == "nvlabs-segmentor":
            state = _join_segmentor(state)
        pvt = prefer_pvt or _is_pvt(state)
        layout = "timm" if pvt and layout == "nvlabs-backbone" else layout
        state = keys.from_published(state, pvt)
    return Weights(source, layout, state, adapters)


def _join_segmentor(state: State) -> State:
    """Drop the prefixes of a NVlabs segmentor; its classifier may bear mmsegmentation's name."""
    head = keys.without_prefix(state, "decode_head.")
    named = keys.with_prefix(keys.without_prefix(head, "conv_seg."), "linear_pred.")
    # NVlabs' head inherits an unused ``conv_seg`` beside the ``linear_pred`` that it calls.
    head = named | {key: v for key, v in head.items() if not key.startswith("conv_seg.")}
    return keys.without_prefix(state, "backbone.") | head


def _is_pvt(state: State) -> bool:
    weight = state.get("block1.0.mlp.fc1.weight")
    return weight is not None and weight.shape[0] == PVT_MLP_RATIO * weight.shape[1]


def dimensions(state: State) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return widths and depths of the encoder whose tensors, under our keys, are in ``state``."""
    widths: dict[str, int] = {}
    depths: dict[str, int] = {}
    for key, tensor in state.items():
        if match := BLOCK.fullmatch(key):
            stage, block = match[2], int(match[3])
            widths[stage] = len(tensor)
            depths[stage] = max(depths.get(stage, 0), block + 1)
    return tuple(widths[s] for s in sorted(widths)), tuple(depths[s] for s in sorted(depths))


def infer_architecture(weights: Weights) -> tuple[str, dict[str, Any]]:
    """Tell name and overrides of the network from the shapes of its tensors.

    What the file itself says comes first.

    Raises:
        ValueError: if the encoder's widths and depths are those of no known network.
    """
    if name := weights.info.get("architecture"):
        return name, weights.overrides
    if "embed_dims" in weights.overrides:
        return "SegformerB0", weights.overrides | _head_override("SegformerB0", weights.state)
    widths, depths = dimensions(weights.state)
    family = "PVTv2" if any(key.startswith(PVT_PREFIX) for key in weights.state) else "Segformer"
    for size in range(6):
        # PVTv2 B0 to B5 have the widths and depths of SegFormer B0 to B5.
        options = MODELS[f"SegformerB{size}"].options
        if (options["embed_dims"], options["depths"]) == (widths, depths):
            name = f"{family}B{size}"
            return name, weights.overrides | _head_override(name, weights.state)
    raise ValueError(
        f"{weights.source}: an encoder of widths {_slashes(widths)} and depths {_slashes(depths)} "
        f"is none of the known ones ({', '.join(MODELS)})"
    )


def _head_override(name: str, state: State) -> dict[str, int]:
    if CLASSIFIER not in state:
        return {}
    head_dim = state[CLASSIFIER].shape[1]
    return {} if head_dim == MODELS[name].head_dim else {"head_dim": head_dim}


def _slashes(numbers: Iterable[int]) -> str:
    return "/".join(map(str, numbers)) or "none"


def compare(found: State, wanted: State, shown: int = 4) -> str | None:
    """Say in one line how two state dicts differ in keys and shapes, None where they do not.

    Args:
        found: what a file holds.
        wanted: what the network has.
        shown: how many keys of each kind are spelled out.
    """
    groups = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "of another shape": [
            f"{key} {tuple(found[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in found and found[key].shape != wanted[key].shape
        ],
    }
    parts = []
    for kind, names in groups.items():
        if names:
            rest = f" and {len(names) - shown} more" if len(names) > shown else ""
            parts.append(f"{len(names)} {kind}: {', '.join(names[:shown])}{rest}")
    return "; ".join(parts) or None


def parameters_in(state: State) -> int:
    """Count the parameters of a state dict; statistics of batch norm are state, not parameters."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.numel() for key, value in state.items() if not key.endswith(buffers))
