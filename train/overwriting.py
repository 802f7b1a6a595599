"""Keep an overwritten run until the new one has saved a checkpoint."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command_line.notes import note
from train.folder_lock import locked
from train.run_folder import ARGUMENTS, discard_unsaved, has_saved


@contextmanager
def undone_unless_saved(folder: Path, overwrite: bool) -> Iterator[None]:
    """Undo a run that ends without a checkpoint, for example because of a damaged image.

    With `overwrite`, the existing run is moved to the hidden `.NAME.overwritten` next to its
    folder, and moved back at the end if nothing was saved.
    """
    # A folder without args.yaml is not a run, so --overwrite must not remove its files.
    if overwrite and (folder / ARGUMENTS).exists():
        folder.rename(_aside(folder))
    try:
        yield
    finally:
        _settle(folder)


def recover(folder: Path) -> None:
    """Clean up after a process that died while it was overwriting a run.

    Raises:
        ValueError: that process is still training in the folder.
    """
    if not _aside(folder).is_dir() or os.environ.get("RANK", "0") != "0":
        return
    with locked(folder):
        if not has_saved(folder):
            note(f"{folder}: put back the run that an interrupted --overwrite had set aside")
        _settle(folder)


def _settle(folder: Path) -> None:
    """Remove the run set aside if the new one has saved a checkpoint, else move it back."""
    aside = _aside(folder)
    if not has_saved(folder):
        discard_unsaved(folder)
        if aside.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
    elif aside.is_dir():
        shutil.rmtree(aside)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.overwritten")
