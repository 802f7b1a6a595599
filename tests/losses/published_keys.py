"""Adapters of published checkpoints under the names that our distillers give them."""

from torch import Tensor

STAGES = range(4)


def _fusion(published: str, ours: str, parts: dict[str, str]) -> dict[str, str]:
    """Prefixes of a top-down fusion, which the published code numbers from the coarsest stage."""
    return {
        f"{published}.{3 - stage}.{part}.": f"adapters.{ours}.{name.format(stage)}."
        for stage in STAGES
        for part, name in parts.items()
    }


def _projections(ours: str) -> dict[str, str]:
    """Prefixes of the linear layers on the embeddings; `ours` has a place for the stage."""
    return {f"embed{i + 1}_linearproject.": f"adapters.{ours.format(i)}." for i in STAGES}


CSF_PARTS = {
    "conv1": "reduce.{}",
    "conv2": "expand.{}",
    "fc.0": "mix.{}.squeeze",
    "fc.1": "mix.{}.norm",
    "fc1.0": "mix.{}.squeeze_single",
    "fcs": "mix.{}.select",
}
ABF_PARTS = {"conv1": "reduce.{}", "conv2": "expand.{}", "att_conv.0": "mix.{}.attend"}
CSF = _fusion("skfs", "selective_fusion", CSF_PARTS)

MIXED = "adapters.mixed_projections.3"  # a GL-Mixer, then the linear layer
GL_MIXER = _projections("mixed_projections.{}") | {
    "embed4_linearproject.": f"{MIXED}.1.",
    "atten_weight": f"{MIXED}.0.attention_weight",
    "conv_weight": f"{MIXED}.0.conv_weight",
    "attn4.": f"{MIXED}.0.attention.",
    "conv1.": f"{MIXED}.0.conv.",
    "conv2.": f"{MIXED}.0.gate.",
}

ASSISTED = "adapters.embedding_assistant"
ASSISTANT = (
    _projections("embedding_assistant.projections.{}")
    | {f"patch_embed{i + 1}.proj.": f"{ASSISTED}.patch_embeddings.{i}.0." for i in STAGES}
    | {f"patch_embed{i + 1}.norm.": f"{ASSISTED}.patch_embeddings.{i}.1." for i in STAGES}
    | {"fuse_weights.": f"{ASSISTED}.weights."}
)

# method -> prefix in the published file -> prefix in ours. A file belongs to the first method that
# knows all of its keys: TransKD-Base, whose keys the others have too, stands before them.
PREFIXES = {
    "sekd": {
        "embeddings.": "adapters.fef.",
        "embed_projections.": "adapters.embed_projections.",
    },
    "transkd-base": CSF | _projections("embed_projections.{}"),
    "transkd-gl": CSF | GL_MIXER,
    "transkd-ea": CSF | ASSISTANT,
    "reviewkd": _fusion("abfs", "review_fusion", ABF_PARTS),
}


def rename_adapters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published adapter state dict (without `student.`) as our distiller of its method has it.

    Which method it belongs to is told by the keys; see `find_published_method`.

    Raises:
        ValueError: no method has all of the keys; one that the closest lacks is named.
    """
    prefixes = PREFIXES[find_published_method(state)]
    return {_rename(key, prefixes): value for key, value in state.items()}


def find_published_method(state: dict[str, Tensor]) -> str:
    """The method whose adapters the file holds; "sekd" stands for all of its variants.

    Raises:
        ValueError: no method has all of the keys; one that the closest lacks is named.
    """
    unknown = {
        method: [key for key in state if not key.startswith(tuple(prefixes))]
        for method, prefixes in PREFIXES.items()
    }
    method = min(unknown, key=lambda method: len(unknown[method]))
    if unknown[method] or not state:
        example = unknown[method][0] if state else "no key at all"
        raise ValueError(f"{example}: not in a published adapter of {', '.join(PREFIXES)}")
    return method


def _rename(key: str, prefixes: dict[str, str]) -> str:
    published = next(prefix for prefix in prefixes if key.startswith(prefix))
    return prefixes[published] + key.removeprefix(published)
