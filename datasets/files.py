"""Recursive listing of files, and comparison of their names."""

import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(
    folder: Path,
    leave_out: Callable[[Path], bool] | None = None,
    onerror: Callable[[OSError], object] | None = None,
) -> Iterator[Path]:
    """Yield the files under a folder, in no particular order, including linked sub-folders.

    Hidden files and folders are skipped, such as the `._` files of macOS on memory cards.

    Args:
        folder: where to start.
        leave_out: tells which sub-folders to skip; None skips none.
        onerror: called if a sub-folder cannot be read; None skips it, as in `os.walk`.
    """
    for place, folders, files in os.walk(folder, followlinks=True, onerror=onerror):
        # Following a link to a parent folder would never end.
        closed = {os.path.realpath(path) for path in (Path(place), *Path(place).parents)}
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and os.path.realpath(Path(place, name)) not in closed
            and not (leave_out and leave_out(Path(place, name)))
        ]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def same_name(name: str) -> str:
    """Normalise case and Unicode form for comparison: macOS decomposes accented letters."""
    return unicodedata.normalize("NFC", name).casefold()
