"""Seeing that results can be written, before the work that makes them is done."""

import tempfile
from pathlib import Path


def check_target(path: Path, flag: str) -> None:
    """Refuse a file that cannot be written.

    Args:
        path: what the flag names.
        flag: the flag, such as ``--json``.

    Raises:
        OSError: it is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{flag} {path}: is a folder; name a file in it")
    check_writable(path, flag)


def check_folder(folder: Path, flag: str) -> None:
    """Make a folder; see `check_target`.

    Raises:
        OSError: it is a file, or it cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{flag} {folder}: is a file; name a folder")
    _try_writing(folder, f"{flag} {folder}")


def check_writable(path: Path, flag: str) -> None:
    """Refuse a file or folder that cannot be written; see `check_target`."""
    _try_writing(path if path.is_dir() else path.parent, f"{flag} {path}")


def _try_writing(folder: Path, named: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OSError(f"{named}: cannot be written ({reason}); name another place") from error
