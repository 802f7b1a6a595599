"""How the worker processes of a DataLoader meet the signals that end a run."""

import signal


def leave_signals_to_parent(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker; a `worker_init_fn`.

    A terminal, `timeout` and batch systems send them to every process of a run. The main process
    decides when to stop; workers that end before it make a traceback of a clean stop. They end
    when it closes the loader, and when it has died.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
