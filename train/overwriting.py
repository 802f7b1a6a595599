"""A run that is overwritten is set aside until the new one has saved something."""

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
    """Leave no trace of a run that ends without a checkpoint, such as for a damaged image.

    With `overwrite` the run that is in the folder is moved to the hidden `.NAME.overwritten` beside
    it, and put back at the end if nothing was saved.
    """
    # A folder without args.yaml is not a run: what is in it was not asked to be removed.
    if overwrite and (folder / ARGUMENTS).exists():
        folder.rename(_aside(folder))
    try:
        yield
    finally:
        _settle(folder)


def recover(folder: Path) -> None:
    """Settle what a process has left that died while it overwrote a run.

    Raises:
        ValueError: that process is alive, it trains in the folder.
    """
    if not _aside(folder).is_dir() or os.environ.get("RANK", "0") != "0":
        return
    with locked(folder):
        if not has_saved(folder):
            note(f"{folder}: put back the run that an interrupted --overwrite had set aside")
        _settle(folder)


def _settle(folder: Path) -> None:
    """Remove the run set aside if its successor has saved something, else put it back."""
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
