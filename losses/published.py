"""Adapters of published checkpoints under the names that our distillers give them."""

from torch import Tensor

# prefix in the published file, prefix in ours
SEKD_PREFIXES = {
    "embeddings.": "adapters.fef.",
    "embed_projections.": "adapters.embed_projections.",
}


def rename_sekd(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published SEKD adapter state dict (without `student.`) in the layout of `sekd*` here.

    Raises:
        ValueError: a key that no SEKD adapter has.
    """
    return {_rename(key): value for key, value in state.items()}


def _rename(key: str) -> str:
    for published, ours in SEKD_PREFIXES.items():
        if key.startswith(published):
            return ours + key.removeprefix(published)
    raise ValueError(f"{key}: no key of a published SEKD adapter ({', '.join(SEKD_PREFIXES)})")
