"""Files of a folder and of its sub-folders."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(
    folder: Path,
    leave_out: Path | None = None,
    onerror: Callable[[OSError], object] | None = None,
) -> Iterator[Path]:
    """Find the files under a folder, in no order; sub-folders and linked ones included.

    Hidden files and folders are left out, such as the `._` files of macOS on memory cards.

    Args:
        folder: where to start.
        leave_out: a sub-folder that is not searched, resolved.
        onerror: called where a sub-folder cannot be read; None passes over it, as in `os.walk`.
    """
    for place, folders, files in os.walk(folder, followlinks=True, onerror=onerror):
        # A link to a folder above would never end.
        closed = {os.path.realpath(path) for path in (Path(place), *Path(place).parents)}
        closed.add(str(leave_out))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in closed
        ]
        yield from (Path(place, name) for name in files if not name.startswith("."))
