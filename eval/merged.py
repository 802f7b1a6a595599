"""Several classes scored as one, such as vegetation, which is crop and weed."""

from collections.abc import Mapping, Sequence

from torch import Tensor


def parse_merged(texts: Sequence[str], classes: Sequence[str]) -> dict[str, list[int]]:
    """Read ``--merge``: `name=class,class` becomes the name and the ids of its classes.

    Raises:
        ValueError: not of that form, an unknown class, fewer than two, or a name that is taken.
    """
    ids = {name.casefold(): index for index, name in enumerate(classes)}
    merged: dict[str, list[int]] = {}
    for text in texts:
        name, _, members = text.partition("=")
        parts = [part.strip().casefold() for part in members.split(",")]
        name = name.strip()
        if not name or len(set(parts)) < 2 or len(set(parts)) < len(parts):
            raise ValueError(f"--merge {text}: expected NAME=A,B, as in vegetation=crop,weed")
        if name.casefold() in ids or name in merged:
            raise ValueError(f"--merge {text}: there is a class {name} already; choose another")
        for part in parts:
            if part not in ids:
                raise ValueError(f"--merge {text}: unknown class '{part}'; {', '.join(classes)}")
        merged[name] = [ids[part] for part in parts]
    return merged


def merged_ious(matrix: Tensor, merged: Mapping[str, Sequence[int]]) -> dict[str, float | None]:
    """Return the IoU of each union of classes; None where it occurs nowhere.

    What is confused within a union counts as right.

    Args:
        matrix: (K, K) int64, rows the label, columns the prediction.
        merged: of `parse_merged`.
    """
    ious: dict[str, float | None] = {}
    for name, ids in merged.items():
        common = int(matrix[ids][:, ids].sum())
        union = int(matrix[ids].sum() + matrix[:, ids].sum()) - common
        ious[name] = common / union if union else None
    return ious
