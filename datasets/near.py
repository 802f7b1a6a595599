"""Search for files whose names are similar to a missing one."""

from difflib import get_close_matches
from pathlib import Path

from datasets.files import files_below, same_name

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".json")


def near_file(wanted: Path, root: Path, partner: Path | None = None) -> str:
    """Suggest the file below `root` that may be meant: ` (near: masks/a.png)`, or "".

    Args:
        wanted: the path that is missing.
        root: the data set's folder.
        partner: the image whose label is missing; it is never suggested.
    """
    found: dict[str, Path] = {}
    for path in sorted(files_below(root)):
        if path.suffix.lower() in _SUFFIXES and path != partner:
            found.setdefault(same_name(path.stem), path)
    stem = same_name(wanted.stem)
    longer = [key for key in found if key.startswith(stem) and not key[len(stem) :][:1].isdigit()]
    for key in (stem, *longer, *get_close_matches(stem, found, 1, cutoff=0.85)):
        if key in found and found[key] != wanted:
            return f" (near: {found[key].relative_to(root)})"
    return ""


def contents(folder: Path) -> str:
    """Summarise a folder's contents: its first sub-folders and files."""
    inside = sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name))
    names = [f"{path.name}/" if path.is_dir() else path.name for path in inside
             if not path.name.startswith(".")]  # fmt: skip
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return (", ".join(names[:6]) or "nothing") + more
