"""Signal handling and shutdown of DataLoader worker processes."""

import ctypes
import signal
import sys
from types import TracebackType

PR_SET_PDEATHSIG = 1  # Linux prctl: sets the signal that a process gets when its parent dies


def leave_signals_to_parent(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker, and die with the main process; a `worker_init_fn`.

    Terminals, `timeout` and batch systems send signals to every process of a run. The main process
    decides when to stop; workers that end before it turn a clean stop into a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.excepthook = _leave_errors_to_parent
    if sys.platform == "linux":  # elsewhere PyTorch polls for it every few seconds
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_errors_to_parent(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print nothing about a connection that the main process closed on exit.

    Errors in samples do not get here: PyTorch passes them to the main process.
    """
    if not isinstance(error, (OSError, EOFError)):
        sys.__excepthook__(kind, error, trace)
