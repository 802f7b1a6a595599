"""Commands that run in a process group of their own, which a signal reaches as a whole, and once.

A Ctrl-C in the terminal goes to all of its foreground group: a command in that group would hear it
there and again from whoever started it. And a launcher, such as `accelerate launch` for one
process, may end by a signal without handing it on.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil

POLL_SECONDS = 0.1


def start(words: Sequence[str], **more: Any) -> subprocess.Popen:
    """Start a command; `more` is handed to Popen."""
    return subprocess.Popen(words, process_group=0, **more)


def terminate(process: subprocess.Popen) -> None:
    """Ask a started command, and all that it has started in its group, to end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def wait_for_all(process: subprocess.Popen) -> None:
    """Wait until nothing of a command's group runs any more."""
    process.wait()
    while any(_is_in(process.pid, each) for each in psutil.process_iter()):
        time.sleep(POLL_SECONDS)


def _is_in(group: int, process: psutil.Process) -> bool:
    try:
        # One that has died and that nobody has asked for yet stays in the group.
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
        return False
