"""Commands in their own process group, so that a signal reaches all of it exactly once.

Ctrl-C in a terminal goes to the whole foreground group: a command in that group would receive it
there and again from its parent. And a launcher, such as `accelerate launch` for one process, may
be ended by a signal without forwarding it.
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
    """Start a command; `more` is passed to Popen."""
    return subprocess.Popen(words, process_group=0, **more)


def terminate(process: subprocess.Popen) -> None:
    """Send SIGTERM to a started command and to all processes in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def wait_for_all(process: subprocess.Popen) -> None:
    """Wait until no process of a command's group is running."""
    process.wait()
    while any(_is_in(process.pid, each) for each in psutil.process_iter()):
        time.sleep(POLL_SECONDS)


def _is_in(group: int, process: psutil.Process) -> bool:
    try:
        # A process that died but was not waited for yet stays in the group.
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
        return False
