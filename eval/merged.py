"""Scoring several classes as one, such as crop and weed as vegetation."""

from collections.abc import Mapping, Sequence

from torch import Tensor


def parse_merged(texts: Sequence[str], classes: Sequence[str]) -> dict[str, list[int]]:
    """Parse `--merge`: `name=class,class` to class ids by name.

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
    """Return the IoU of each union of classes; None if it does not occur.

    Confusions within a union count as correct.

    Args:
        matrix: (K, K) int64, rows are labels, columns predictions.
        merged: from `parse_merged`.
    """
    ious: dict[str, float | None] = {}
    for name, ids in merged.items():
        common = int(matrix[ids][:, ids].sum())
        union = int(matrix[ids].sum() + matrix[:, ids].sum()) - common
        ious[name] = common / union if union else None
    return ious
