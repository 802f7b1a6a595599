"""One run per folder: two processes that train in one would overwrite each other's checkpoints."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from command_line.notes import note


class InUseError(ValueError):
    """Another process holds the lock of a folder.

    Attributes:
        holder: that process, such as "process 12 on robot".
    """

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(
            f"{folder}: {holder} is training in it: wait for its end, or pass --run-name"
        )
        self.holder = holder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run folder while the block runs.

    The lock is held on the file `.NAME.lock` beside the folder, which need not exist. It ends with
    this process, however that ends, and processes that are forked from it do not hold it.

    Raises:
        InUseError: another process holds the lock.
    """
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_locked(path, folder) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_free(folder: Path) -> None:
    """Refuse a folder that another process trains in, as `locked` does, and hold nothing."""
    with locked(folder):
        pass


def _open_locked(path: Path, folder: Path) -> TextIO:
    """Open and lock a file that whoever held it before may be about to remove."""
    while True:
        file = path.open("a+")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            raise InUseError(folder, holder) from None
        except OSError as error:
            note(f"{path.parent} cannot lock files ({error.strerror}): start no two runs in one")
        with suppress(OSError):  # it has been removed
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
