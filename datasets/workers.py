"""How the worker processes of a DataLoader meet the signals and the end of a run."""

import ctypes
import signal
import sys
from types import TracebackType

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def leave_signals_to_parent(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker, and die with the main process; a `worker_init_fn`.

    A terminal, `timeout` and batch systems send signals to every process of a run. The main process
    decides when to stop; workers that end before it make a traceback of a clean stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.excepthook = _leave_errors_to_parent
    if sys.platform == "linux":  # elsewhere PyTorch looks every few seconds
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_errors_to_parent(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say nothing of a connection that the main process has cut as it ends.

    An error of a sample does not come here: PyTorch hands it to the main process.
    """
    if not isinstance(error, (OSError, EOFError)):
        sys.__excepthook__(kind, error, trace)
