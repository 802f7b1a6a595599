"""Training commands as processes of their own, forked from one that has imported everything."""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import train.networks
import train.train_sekd
import train.train_student
import train.train_teacher
from command_line.cli import run
from models import build_model
from tests.train.conftest import TINY, TINY_RUN, write_voc

PATIENCE = 60  # seconds after which a process that should have ended counts as hanging
MAINS = {
    "teacher": train.train_teacher.main,
    "student": train.train_student.main,
    "sekd": train.train_sekd.main,
}


def prepare(folder: Path) -> Path:
    """Make a data set, and networks so small that training them takes no time."""
    import torch._dynamo  # noqa: F401  (an optimizer's first state_dict would import it)
    import torch.utils.tensorboard  # noqa: F401

    torch.set_num_threads(1)
    train.networks.build_model = lambda name, classes: build_model(name, classes, **TINY)
    gc.collect()
    gc.freeze()  # so that forked processes do not copy what they never touch
    return write_voc(folder / "data", train=8, val=2)


@dataclass
class Process:
    """A training command; its output goes to a file."""

    pid: int
    output: Path

    def wait(self, seconds: float) -> int | None:
        """The exit status, minus the signal where that ended it; None if it still runs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return None

    def end(self) -> None:
        """Kill the process and all that it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    @property
    def told_in_one_line(self) -> bool:
        """Whether it ended with one line for its error, and no traceback."""
        return self.said.count(": error: ") == 1 and "Traceback" not in self.said


def start(
    stage: str, data: Path, words: list[str], output: Path, first: Callable[[], object] = int
) -> Process:
    """Fork a training command into a session of its own; it calls `first` before it begins."""
    pid = os.fork()
    if pid:
        return Process(pid, output)
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = [f"train_{stage}.py", *TINY_RUN, "--datadir", str(data), *words]
    first()
    run(MAINS[stage])
