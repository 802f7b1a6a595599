"""Failures that are not the user's mistake: a full disk, a killed process."""

import errno
import multiprocessing
import re
import signal
from collections.abc import Iterator

DISK = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than is allowed (ulimit -f)",
}
NO_SPACE = "No space left on device"  # torch's wording for shared memory
HALF_WRITTEN = ("unexpected pos", "PytorchStreamWriter failed")
DEAD_READER = re.compile(
    r"DataLoader worker \(pid\(?s?\)? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpec)"
)
DEAD = "a process that reads data has died; if memory is short, pass a smaller --num-workers"
PEERS = "gloo/transport"  # of the library that connects processes on CPUs


class OutageError(Exception):
    """A command cannot continue, and no input is to blame: one line, exit status 1."""


def find_outage(error: BaseException | None) -> str | None:
    """Describe the outage that caused an error; None if none did or the error explains itself."""
    for each in _chain(error):
        if isinstance(each, OutageError):
            return str(each)  # more specific than its cause or what followed
    if isinstance(error, ValueError) or getattr(error, "errno", "") is None:
        return None
    reasons = (_reason(each) for each in _chain(error))
    return next((reason for reason in reasons if reason), None)


def end_readers() -> None:
    """Kill the data loading workers of this process.

    They ignore the signals that end a run, and one whose sibling was killed may wait forever for a
    lock that the sibling held: SIGTERM is not enough.
    """
    readers = [child for child in multiprocessing.active_children() if child.daemon]
    # PyTorch's handler would treat their exit as an outage.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for reader in readers:
        reader.kill()
    for reader in readers:
        reader.join()
    signal.signal(signal.SIGCHLD, handler)


def _reason(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, OSError) and error.errno in DISK:
        return DISK[error.errno]
    if isinstance(error, (ConnectionError, EOFError)) or _is_lost_socket(error):
        return DEAD
    if not isinstance(error, RuntimeError):
        return None
    if found := DEAD_READER.search(text):
        return DEAD + (f" ({found[1].strip()})" if found[1] else "")
    if NO_SPACE in text:
        return "no space is left on the disk or in shared memory"
    if any(part in text for part in HALF_WRITTEN):
        return "a file could not be written to its end"
    # By name, so that torch's class need not be imported.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "another process of this run has died" if "DistError" in kinds or PEERS in text else None


def _is_lost_socket(error: BaseException) -> bool:
    """Whether a worker's socket for tensors is gone; missing files would have a file name."""
    return isinstance(error, FileNotFoundError) and bool(error.errno) and error.filename is None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes, root cause first: later ones follow from it."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)
