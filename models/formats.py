"""Recognise a weight file by the keys it holds and bring it to our key names."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from models import keys
from models.family import Family, Layout
from models.keys import State
from models.registry import FAMILIES, MODELS

CLASSIFIER_PREFIX = "head.linear_pred."
CLASSIFIER = f"{CLASSIFIER_PREFIX}weight"


@dataclass
class Weights:
    """Contents of a weight file.

    Attributes:
        source: file or folder, for messages.
        format: one of `FORMATS`.
        state: tensors of the network under our keys.
        adapters: tensors of a distillation method's adapters under their keys in the file, if any.
        info: metadata of the file, see `models.reading.INFO`.
        overrides: how the network differs from the registered architecture, if the file says so.
    """

    source: str
    format: str
    state: State
    adapters: State | None = None
    info: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int | None:
        """Channels of the classifier; None if the file holds only an encoder."""
        return self.state[CLASSIFIER].shape[0] if CLASSIFIER in self.state else None

    @property
    def has_head(self) -> bool:
        """Whether there is a decode head in addition to the encoder."""
        return any(key.startswith("head.") for key in self.state)


# Formats of files with more than an encoder. Encoders have the formats that families declare.
WRAPPINGS = {
    "nvlabs-segmentor": "a SegFormer segmentor of NVlabs, on mmsegmentation",
    "published": "a teacher or student of the published SEKD or TransKD code",
    "published-sekd": "a student with adapters of the published SEKD code",
    "published-transkd": "a student with adapters of the published TransKD code",
}
LAYOUTS = [(family, layout) for family in FAMILIES for layout in family.layouts]
FORMATS = (
    {"sekd": "a checkpoint of this project"}
    | WRAPPINGS
    | {layout.name: layout.description for _, layout in LAYOUTS}
)


def unwrap(state: State) -> State:
    """Drop the prefixes that DataParallel and torch.compile add to every key."""
    for wrapper in ("module.", "_orig_mod.", "module."):
        if state and all(key.startswith(wrapper) for key in state):
            state = keys.without_prefix(state, wrapper)
    return state


def to_ours(state: State, source: str, named: Family | None = None) -> Weights:
    """Recognise the layout of a state dict and translate it.

    Keys that belong to no layout are kept, so that strict loading reports them.

    Args:
        state: tensors by name, in any layout of `FORMATS`.
        source: file or folder, for messages.
        named: the family that the caller expects; decides if two families share keys.

    Raises:
        ValueError: if the layout is unknown.
    """
    try:
        return _translate(unwrap(state), source, named)
    except (IndexError, KeyError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{source}: its tensors are not those of their names: {error}") from error


def _translate(state: State, source: str, named: Family | None) -> Weights:
    if family_of(state):
        return Weights(source, "sekd", state)
    wrapping, encoder, head, adapters = _open_wrapping(state)
    layout = _find_layout(encoder, named)
    if layout is None:
        examples = ", ".join(list(state)[:3]) or "none at all"
        raise ValueError(f"{source}: no layout that is known here (its tensors: {examples})")
    if not layout.keeps_head:
        wrapping, head = None, {}
    ours = layout.to_ours(encoder) | keys.with_prefix(head, "head.")
    return Weights(source, wrapping or layout.name, ours, adapters)


def family_of(state: State) -> Family | None:
    """Return the family of the network in `state`, which has our keys; None if unknown."""
    return next((family for family in FAMILIES if any(family.dimensions(state))), None)


def _open_wrapping(state: State) -> tuple[str | None, State, State, State | None]:
    """Return the format of the wrapping, the encoder, a decode head and a method's adapters.

    An encoder's ImageNet classifier (`head.*`) is dropped.
    """
    wrapping, adapters = None, None
    if keys.starts(state, "student."):
        wrapping = _published_kind(state)
        if wrapping != "published":
            adapters = {k: v for k, v in state.items() if not k.startswith("student.")}
        state = keys.without_prefix(state, "student.")
    elif keys.starts(state, "backbone."):
        wrapping = "nvlabs-segmentor"
        head = keys.without_prefix(state, "decode_head.")
        # The classifier may have mmsegmentation's name, `conv_seg`. NVlabs' head inherits that
        # one unused, in addition to the `linear_pred` that it calls.
        named = keys.with_prefix(keys.without_prefix(head, "conv_seg."), "linear_pred.")
        head = named | {key: v for key, v in head.items() if not key.startswith("conv_seg.")}
        return wrapping, keys.without_prefix(state, "backbone."), head, adapters
    elif keys.starts(state, "linear_"):
        wrapping = "published"
    head = {key: value for key, value in state.items() if key.startswith("linear_")}
    encoder = {k: v for k, v in state.items() if not k.startswith(("linear_", "head."))}
    return wrapping, encoder, head, adapters


def _published_kind(state: State) -> str:
    if keys.starts(state, "skfs.", "abfs.", "embed1_linearproject."):
        return "published-transkd"
    if keys.starts(state, "embeddings.", "embed_projections."):
        return "published-sekd"
    return "published"


def _find_layout(encoder: State, named: Family | None) -> Layout | None:
    ordered = sorted(LAYOUTS, key=lambda entry: entry[0] is not named)
    recognised = (layout for f, layout in ordered if layout.recognises(encoder, f is named))
    return next(recognised, None)


def infer_architecture(weights: Weights) -> tuple[str, dict[str, Any]]:
    """Infer name and overrides of the network from the shapes of its tensors.

    Metadata in the file takes precedence.

    Raises:
        ValueError: if the encoder's widths and depths match no known network.
    """
    classifier = weights.state.get(CLASSIFIER)
    if classifier is not None and (classifier.ndim != 4 or 0 in classifier.shape):
        raise ValueError(f"{weights.source}: {CLASSIFIER} is none: {tuple(classifier.shape)}")
    if name := weights.info.get("architecture"):
        _check_dimensions(weights, name)
        return name, weights.overrides
    family = family_of(weights.state)
    widths, depths = family.dimensions(weights.state) if family else ((), ())
    for name, size in family.sizes.items() if family else ():
        if "embed_dims" in weights.overrides or (size.embed_dims, size.depths) == (widths, depths):
            return name, weights.overrides | _head_override(name, weights.state)
    raise ValueError(
        f"{weights.source}: an encoder of widths {_slashes(widths)} and depths {_slashes(depths)} "
        f"is none of the known ones ({', '.join(MODELS)})"
    )


def _check_dimensions(weights: Weights, name: str) -> None:
    """Reject metadata that describes a larger network than the file has tensors for."""
    if name not in MODELS:
        raise ValueError(f"{weights.source}: unknown network {name!r}; known: {', '.join(MODELS)}")
    size = MODELS[name].sizes[name]
    said = [
        tuple(weights.overrides.get(key, getattr(size, key))) for key in ("embed_dims", "depths")
    ]
    found = MODELS[name].dimensions(weights.state)
    if len(found[0]) != len(said[0]) or any(
        there < asked
        for wanted, has in zip(said, found, strict=True)
        for asked, there in zip(wanted, has, strict=False)
    ):
        raise ValueError(
            f"{weights.source}: does not fit {name}: widths {_slashes(found[0])} and depths "
            f"{_slashes(found[1])} for {_slashes(said[0])} and {_slashes(said[1])}"
        )


def _head_override(name: str, state: State) -> dict[str, int]:
    if CLASSIFIER not in state:
        return {}
    head_dim = state[CLASSIFIER].shape[1]
    return {} if head_dim == MODELS[name].sizes[name].head_dim else {"head_dim": head_dim}


def _slashes(numbers: Iterable[int]) -> str:
    return "/".join(map(str, numbers)) or "none"


def compare(found: State, wanted: State, shown: int = 4) -> str | None:
    """Describe in one line how two state dicts differ in keys and shapes; None if they do not.

    Args:
        found: state dict of a file.
        wanted: state dict of the network.
        shown: how many keys of each kind are listed.
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
    """Count the parameters of a state dict, without batch norm statistics."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.numel() for key, value in state.items() if not key.endswith(buffers))
