"""Lock run folders: two runs in the same folder would overwrite each other's checkpoints."""

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
        holder: description of that process, such as "process 12 on robot".
    """

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(
            f"{folder}: {holder} is training in it: wait for its end, or pass --run-name"
        )
        self.holder = holder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run folder during the block.

    The lock is on the file `.NAME.lock` next to the folder, which need not exist. It is released
    when this process ends, in whatever way, and forked processes do not inherit it.

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
    """Raise as `locked` does if another process is training in a folder, without locking it."""
    with locked(folder):
        pass


def _open_locked(path: Path, folder: Path) -> TextIO:
    """Open and lock a file; retry if its previous holder removes it in between."""
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
        with suppress(OSError):  # the file was removed
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
