"""Training commands as processes of their own, forked from one that has imported everything."""

import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil
from PIL import Image

import train.networks
import train.stage
import train.train_sekd
import train.train_student
import train.train_teacher
import train.validation
from command_line.cli import run
from models import build_model
from tests.train.conftest import TINY, TINY_RUN, write_voc

PATIENCE = 60  # seconds after which a process that should have ended counts as hanging
POLL_SECONDS = 0.01
# Upright images: rows of four pictures are drawn at every validation, and take the longest of all.
TRAINING = (*TINY_RUN, "--height", "64", "--width", "32")
MAINS = {
    "teacher": train.train_teacher.main,
    "student": train.train_student.main,
    "sekd": train.train_sekd.main,
}
# What a process was doing, by the functions that it was in; the first that fits.
PLACES = {
    "in a save": {"save_checkpoint", "save_training"},
    "in a log row": {"report_epoch"},
    "in validation": {"evaluate", "pictures"},
    "in pictures": {"draw_pictures"},
    "in a step": {"_step", "_finish_step"},
    "waiting for images": {"_timed"},
    "between epochs": {"run_epoch", "finish_epoch"},
    "at the end": {"finish"},
}
AT_THE_START, AFTER_ITS_END = "at the start", "after its end"
WHILE_LEAVING = "while it leaves, or starved"


def prepare(folder: Path) -> Path:
    """Make a data set, and networks so small that training them takes no time."""
    import torch._dynamo  # (an optimizer's first state_dict would import it)
    import torch.utils.tensorboard  # noqa: F401

    torch.set_num_threads(1)
    train.validation.PICTURES = 1
    cost = {"params": 1, "flops": 1, "height": 64, "width": 32}  # counting takes half of a run
    train.stage.training_cost = lambda *_: cost
    train.networks.build_model = lambda name, classes: build_model(name, classes, **TINY)
    gc.collect()
    gc.freeze()  # so that forked processes do not copy what they never touch
    data = write_voc(folder / "data", train=8, val=2)
    for name in ("field08", "field09"):  # shown at every validation: noise is slow to compress
        path = data / "JPEGImages" / f"{name}.jpg"
        with Image.open(path) as image:
            image.resize((4, 3)).resize(image.size, Image.Resampling.NEAREST).save(path)
    return data


@dataclass
class Process:
    """A process in a session of its own; its output goes to a file."""

    pid: int
    output: Path
    cpu_seconds: float = 0.0

    def wait(self, seconds: float, cpu_seconds: float = float("inf")) -> int | None:
        """Wait until the process has ended, or has computed for `cpu_seconds`.

        Returns:
            The exit status, minus the signal where that ended it; None if it still runs.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.cpu_seconds < cpu_seconds:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(POLL_SECONDS)
            times = psutil.Process(self.pid).cpu_times()
            self.cpu_seconds = times.user + times.system
        return None

    def end(self) -> None:
        """Kill the process and all that it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def place(self) -> str:
        """What the process is doing: one of `PLACES`, or before or after them."""
        self._stack.write_bytes(b"")
        os.kill(self.pid, signal.SIGUSR1)
        process, deadline = psutil.Process(self.pid), time.monotonic() + 2
        while not (stack := self._stack.read_text()):
            if process.status() == psutil.STATUS_ZOMBIE:
                return AFTER_ITS_END
            if time.monotonic() > deadline:  # Python has taken the handler away
                return WHILE_LEAVING
            time.sleep(0.001)
        inside = {line.rpartition(" in ")[2] for line in stack.splitlines()}
        return next((name for name, known in PLACES.items() if known & inside), AT_THE_START)

    @property
    def _stack(self) -> Path:
        return self.output.with_suffix(".stack")

    def show_places(self) -> None:
        """Answer `place`; called in the process itself."""
        file = self._stack.open("a")
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # what is left of it when Python leaves
        faulthandler.register(signal.SIGUSR1, file, all_threads=False)

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    @property
    def told_in_one_line(self) -> bool:
        """Whether it ended with one line for its error, and no traceback."""
        return self.said.count(": error: ") == 1 and "Traceback" not in self.said


def fork(work: Callable[[Process], NoReturn], output: Path) -> Process:
    """Run `work` in a process of its own, in a session of its own."""
    output.write_bytes(b"")
    pid = os.fork()
    if pid:
        return Process(pid, output)
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    work(Process(os.getpid(), output))


def start(
    stage: str,
    words: list[str],
    output: Path,
    first: Callable[[], object] = int,
    environment: Mapping[str, str] | None = None,
    leaves: bool = True,
) -> Process:
    """Fork a training command.

    Args:
        stage, words: the command.
        output: file for what it prints.
        first: called in the process before the command begins.
        environment: added to the process's own.
        leaves: end as any Python program; without it at once, which takes half as long.
    """

    def train_stage(process: Process) -> NoReturn:
        process.show_places()
        os.environ.update(environment or {})
        sys.argv = [f"train_{stage}.py", *TRAINING, *words]
        first()
        try:
            run(MAINS[stage])
        except SystemExit as ended:
            if leaves:
                raise
            assert isinstance(ended.code, int)
            os._exit(ended.code)

    return fork(train_stage, output)
