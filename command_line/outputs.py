"""Outputs: check up front that they can be written, then write them completely or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def check_target(path: Path, flag: str) -> None:
    """Refuse a file that cannot be written.

    Args:
        path: value of the flag.
        flag: the flag, such as `--json`.

    Raises:
        OSError: it is a folder, or its folder cannot be created or written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{flag} {path}: is a folder; name a file in it")
    check_writable(path, flag)


def check_folder(folder: Path, flag: str) -> None:
    """Create a folder; see `check_target`.

    Raises:
        OSError: it is a file, or it cannot be created or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{flag} {folder}: is a file; name a folder")
    _try_writing(folder, f"{flag} {folder}")


def check_unused(paths: Iterable[Path], flag: str) -> None:
    """Refuse to replace results without `--overwrite`.

    Args:
        paths: files that the command is about to write.
        flag: the flag of the folder, such as `--output`.

    Raises:
        FileExistsError: one of them exists.
    """
    for path in paths:
        if path.exists():
            raise FileExistsError(
                f"{flag}: {path} exists; name another folder, or replace it with --overwrite"
            )


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; the file written there replaces `path` at the end.

    If the block raises, the temporary file is removed and `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that `replacing` left behind in a killed process.

    Args:
        folder: folder of the files.
        names: patterns such as `*.pth`; no running process may be writing such files.
    """
    for name in names:
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into `folder`; none is replaced before all are complete.

    Args:
        folder: created if missing; other files in it are left alone.
        contents: by file name.

    Raises:
        FileExistsError: if `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: a file of this name is in the way of the folder")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        for name in contents:
            os.replace(temporary / name, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
