"""Series of numbered photographs, such as the frames of one drive."""

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)


def series_of(name: str) -> tuple[str, int] | None:
    """Split `field/drive1_00042` into `field/drive1_` and 42; None if there is no number."""
    folder, slash, stem = name.rpartition("/")
    match = _NUMBERED.match(stem)
    return (folder + slash + match[1] + match[3], int(match[2])) if match else None


def by_series(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names by series, ordered by number; each unnumbered name is a group of its own."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        prefix, number = series_of(name) or (f"{name}\0", 0)
        found.setdefault(prefix, []).append((number, name))
    return {prefix: [name for _, name in sorted(members)] for prefix, members in found.items()}
