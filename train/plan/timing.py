"""Time the first steps of every run of a pipeline, to base its estimate on measurements.

This happens in a separate process, which frees its memory when it ends.
"""

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from torch import nn
from tqdm import tqdm

from datasets.transforms import collate
from eval.evaluator import evaluate
from models import build_model
from train.arguments import FlagParser
from train.data import Data, build_data
from train.loop import Interrupt, Loop
from train.networks import build_criterion, build_distillation, build_student
from train.options import Options
from train.precision import resolve_teacher_precision
from train.run import Run, start_run
from train.stage import build_keeper, prepare
from train.tasks import SupervisedTask, Task
from train.teacher import FrozenTeacher
from train.trackers import Tracker

TIMED_STEPS = 5  # the first is a warm-up
ENOUGH_SECONDS = 20  # after which fewer steps are enough
TIMED_IMAGES = 4  # validation images; the first is a warm-up
Flags = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """Cost of a run on this machine, in seconds.

    Attributes:
        start: once, before the first step.
        step: per optimizer step, including the wait for data.
        image: per validation image.
    """

    start: float
    step: float
    image: float


def options_of(stage: str, flags: Flags) -> Options:
    """Options of a stage from flags spelled as in a recipe.

    Raises:
        ValueError: an unknown flag, or flags that contradict each other.
        SystemExit: status 2, for a value that argparse rejects.
    """
    parser = FlagParser(stage)
    return Options.of(stage, parser.read([], parser.check(flags, "recipe")))


def time_first_steps(
    runs: Mapping[str, tuple[str, Flags]], teacher_model: str
) -> tuple[dict[str, Cost], float]:
    """Time the first steps of runs.

    Args:
        runs: stage and flags, by name.
        teacher_model: the teacher's network in stage "sekd"; its weights do not matter here.

    Returns:
        The cost of each run, and the seconds a process takes to start and load its libraries.

    Raises:
        ValueError, OSError: as raised by training itself.
    """
    started = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _end_at_ctrl_c) as pool:
        try:
            costs, worked = pool.submit(_time_first_steps, dict(runs), teacher_model).result()
        except BrokenProcessPool:
            raise ValueError(
                "timing the first steps needs more memory than there is: choose a smaller "
                "--preset, or --teacher-model"
            ) from None
    return costs, time.perf_counter() - started - worked


def _end_at_ctrl_c() -> None:
    """End on Ctrl-C without a traceback: the parent process receives it too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _time_first_steps(
    runs: Mapping[str, tuple[str, Flags]], teacher_model: str
) -> tuple[dict[str, Cost], float]:
    started = time.perf_counter()
    # Training itself will print the same messages.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        costs = {name: time_run(*run, teacher_model) for name, run in runs.items()}
    return costs, time.perf_counter() - started


def time_run(stage: str, flags: Flags, teacher_model: str) -> Cost:
    """Time the first steps of one run and the validation of a few images; writes nothing."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        timed = {"max-steps": TIMED_STEPS, "warmup-steps": 0, "steps-loss": 1, "savedir": folder}
        run = start_run(options_of(stage, {**flags, **timed}))
        data = build_data(run)
        task = _task(run, data, teacher_model)
        start = time.perf_counter() - started
        step = _time_steps(run, task, data)
    return Cost(start, step, _time_images(run, task.student, data))


def _task(run: Run, data: Data, teacher_model: str) -> Task:
    student = build_student(run, data)
    if run.options.stage != "sekd":
        return SupervisedTask(student, build_criterion(run, data), data.preprocessing)
    device = run.accelerator.device
    precision = resolve_teacher_precision(run.options.of_distillation.teacher_amp, device)
    network = build_model(teacher_model, len(data.classes)).to(device)
    teacher = FrozenTeacher(network, data.preprocessing, data.classes, precision)
    return build_distillation(run, data, student, teacher)


class _Clock(tqdm):
    """A hidden progress bar that records when steps end, and requests a stop after enough time.

    Args:
        interrupt: set to request the stop.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(disable=True)
        self.interrupt = interrupt
        self.ends = [time.perf_counter()]

    def update(self, n: float | None = 1) -> None:
        """Record that a step has ended."""
        self.ends.append(time.perf_counter())
        if len(self.ends) > 2 and self.ends[-1] - self.ends[0] > ENOUGH_SECONDS:
            self.interrupt.requested = True

    @property
    def seconds(self) -> float:
        """Median time of a step, without the first one if there are others."""
        first, *others = [end - start for start, end in pairwise(self.ends)]
        return median(others or [first])


def _time_steps(run: Run, task: Task, data: Data) -> float:
    parts = prepare(run, task, data)
    silent = replace(build_keeper(run, task, data, parts.state), writes=False)
    interrupt = Interrupt()
    clock = _Clock(interrupt)
    loop = Loop(run, parts, silent, Tracker(), clock, interrupt)
    while not (parts.done or loop.interrupted):
        loop.run_epoch()
    return clock.seconds


def _time_images(run: Run, network: nn.Module, data: Data) -> float:
    """Median seconds per validation image, read and scored one at a time."""
    if data.val is None:
        return 0.0
    ends = []
    for index in range(min(TIMED_IMAGES, len(data.val))):
        started = time.perf_counter()
        evaluate(
            network,
            [collate([data.val[index]])],
            num_classes=data.labels.outputs,
            ignore_index=data.labels.ignored,
            preprocessing=data.preprocessing,
            device=run.accelerator.device,
            progress=False,
        )
        ends.append(time.perf_counter() - started)
    return median(ends[1:] or ends)
