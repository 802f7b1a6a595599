"""Ctrl-C and SIGTERM without a traceback before a command begins and after it has ended."""

import atexit
import os
import signal
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)


def end_quietly(status: int = 130) -> None:
    """From now on a signal ends the process at once, with `status`.

    Commands call it before slow imports; `command_line.cli.run` takes over.
    """

    def leave(*_: object) -> NoReturn:
        os._exit(status)

    for each in ENDING:
        signal.signal(each, leave)


@atexit.register
def ignore_signals() -> None:
    """Keep the status of a command that is exiting: Python is about to drop all handlers."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
