"""The training loop shared by all stages.

It only knows a task (batch to loss and named terms), not the method. The seed of a step is derived
from (seed, epoch, batch, process), so a resumed run is bit-identical to an uninterrupted one.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from tqdm import tqdm

from command_line.memory import memory_advice
from command_line.progress import Lines
from datasets.mixing import BatchMixing
from datasets.sampling import EpochSampler, derive_seed
from train.checkpoint import Keeper, TrainingState
from train.gradients import anomalies_told, check_gradient
from train.meter import Meter, Tally
from train.run import Run
from train.trackers import Tracker

STEPS_BETWEEN_STOP_CHECKS = 10
PATIENCE = 3  # seconds to clean up after a second Ctrl-C
STEP_STREAM = 1  # keeps the seeds of training steps distinct from those of the data order


@dataclass
class Schedule:
    """Length of training, in optimizer steps and epochs of `batches` batches."""

    batches: int
    accumulate: int
    steps_per_epoch: int
    total_steps: int

    @classmethod
    def of(cls, batches: int, accumulate: int, epochs: int, max_steps: int | None) -> "Schedule":
        """Count steps for `batches` per epoch; a remainder below `accumulate` is a step too."""
        steps_per_epoch = math.ceil(batches / accumulate)
        return cls(batches, accumulate, steps_per_epoch, max_steps or epochs * steps_per_epoch)

    def group_size(self, batch: int) -> int:
        """Number of batches in the optimizer step that contains the given batch (from 0)."""
        first = batch - batch % self.accumulate
        return min(self.accumulate, self.batches - first)

    @property
    def epochs(self) -> int:
        """Number of epochs, including a partial last one."""
        return math.ceil(self.total_steps / self.steps_per_epoch)


class Interrupt:
    """Turns Ctrl-C and SIGTERM into a request to save and stop after the current step."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator["Interrupt"]:
        """Handle signals in the block; a second one ends the program within `PATIENCE` seconds."""
        previous = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def _request(self, signum: int, frame: object) -> None:
        if self.requested:
            last_resort = threading.Timer(PATIENCE, os._exit, (130,))
            last_resort.daemon = True
            last_resort.start()
            raise KeyboardInterrupt
        self.requested = True


class Loader(Protocol):
    """A data loader as prepared by the accelerator."""

    def __iter__(self) -> Iterator[dict]: ...

    def set_epoch(self, epoch: int) -> None: ...


@dataclass(frozen=True)
class Parts:
    """Everything that the training loop works with.

    Attributes:
        task: images and labels to {"loss", <terms>}; prepared by the accelerator.
        loader: batches of the training split; also prepared.
        sampler: of the loader; the loop sets its epoch and where to start in it.
        optimizer: also prepared; its learning rate follows the state's scheduler.
        schedule: length of training.
        state: what a resumed run needs besides the student's weights, including progress.
        mixing: batch augmentation, images and labels to images and labels.
    """

    task: nn.Module
    loader: Loader
    sampler: EpochSampler
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    state: TrainingState
    mixing: BatchMixing

    @property
    def done(self) -> bool:
        """Whether the schedule has ended."""
        return self.state.progress.step >= self.schedule.total_steps


class Loop:
    """Trains a task epoch by epoch.

    Args:
        run: options and devices.
        parts: task, data, optimizer and state.
        keeper: saves in the middle of a long epoch.
        tracker: logs the loss terms.
        bar: progress bar over all optimizer steps.
        interrupt: the user's request to stop.

    Attributes:
        interrupted: whether the last epoch was left early on the user's request.
    """

    def __init__(
        self,
        run: Run,
        parts: Parts,
        keeper: Keeper,
        tracker: Tracker,
        bar: tqdm | Lines,
        interrupt: Interrupt,
    ) -> None:
        self.run, self.parts, self.keeper = run, parts, keeper
        self.tracker, self.bar, self.interrupt = tracker, bar, interrupt
        self.accelerator, self.progress = run.accelerator, parts.state.progress
        options, logging = run.options.optimisation, run.options.logging
        self.batch_size = options.batch_size * run.accelerator.num_processes  # over all processes
        self.log_every = [logging.steps_loss, *([logging.steps_plot] * logging.visualize)]
        self.interrupted = False
        self.scale = 0.0 if parts.state.scaler is None else parts.state.scaler.get_scale()
        self.started_at, self.started = self.progress.step, time.monotonic()

    def run_epoch(self) -> Meter:
        """Train until the current epoch or the schedule ends, or until an interrupt.

        Raises:
            NonFiniteLossError: see `Meter.read` and `check_gradient`.
            ValueError: a step needs more memory than there is.
        """
        meter = Meter(self.progress.tally)
        self.parts.task.train()
        self.parts.sampler.skip = self.progress.batch * self.batch_size
        self.parts.loader.set_epoch(self.progress.epoch)
        started = time.perf_counter()
        for batch in _timed(self.parts.loader, meter):
            self._step(batch, meter)
            meter.seconds = time.perf_counter() - started
            self.progress.batch += 1
            if not self.accelerator.sync_gradients:
                continue
            self._finish_step(meter)
            self._keep(meter)
            self.interrupted = self._stop_requested()
            if self.interrupted or self.parts.done:
                break
        self._note_progress(meter)
        return meter

    def _step(self, batch: dict, meter: Meter) -> None:
        progress, process = self.progress, self.accelerator.process_index
        draw = (self.run.options.run.seed, STEP_STREAM, progress.epoch, progress.batch, process)
        torch.manual_seed(derive_seed(*draw))
        advice = (
            f"step {progress.step + 1} needs more memory than there is: halve --batch-size and "
            "double --accumulate, or pass a smaller --height and --width"
        )
        task = self.accelerator.unwrap_model(self.parts.task)
        with (
            memory_advice(advice),
            anomalies_told(progress.step + 1),
            self.accelerator.accumulate(self.parts.task),
        ):
            with self.accelerator.autocast():  # as in the forward pass of the task
                task.begin_step(progress.step, batch)
            terms = self.parts.task(*self.parts.mixing(batch["image"], batch["label"].long()))
            meter.add(progress.step + 1, terms)
            # Accelerate divides by --accumulate, even in the last, smaller group of an epoch.
            missing = self.parts.schedule.accumulate / self.parts.schedule.group_size(
                progress.batch
            )
            self.accelerator.backward(terms["loss"] * missing)
            if self.accelerator.sync_gradients:
                self._prepare_gradient(batch, draw, meter)
            self.parts.optimizer.step()
            self.parts.optimizer.zero_grad()
        meter.images += self.batch_size
        meter.tally.replaced += batch["replaced"]

    def _prepare_gradient(self, batch: dict, draw: tuple[int, ...], meter: Meter) -> None:
        """Clip and check the gradient. With fp16, the scaler detects overflows instead."""

        def forward() -> dict[str, torch.Tensor]:
            torch.manual_seed(derive_seed(*draw))
            return task(*self.parts.mixing(batch["image"], batch["label"].long()))

        task = self.accelerator.unwrap_model(self.parts.task)
        parameters, norm = list(task.parameters()), None
        clip_grad = self.run.options.optimisation.clip_grad
        if clip_grad is not None:
            norm = self.accelerator.clip_grad_norm_(parameters, clip_grad)
        if self.parts.state.scaler is None:
            check_gradient(parameters, norm, self.progress.step + 1, meter.read, forward)

    def _finish_step(self, meter: Meter) -> None:
        if self._has_overflowed():  # the weights did not change
            meter.tally.skipped += 1
        else:
            self.parts.state.scheduler.step()
        self.progress.step += 1
        if self.parts.state.average is not None:
            student = self.accelerator.unwrap_model(self.parts.task).student
            self.parts.state.average.update(student, step=self.progress.step)
        on_log = any(self.progress.step % every == 0 for every in self.log_every)
        if on_log or self.accelerator.device.type == "cpu":  # reading stalls a GPU
            meter.read()
            self.bar.set_postfix_str(meter.describe(self.learning_rate), refresh=False)
        if on_log:
            rates = {"lr": self.learning_rate, "images_per_second": meter.images_per_second}
            self.tracker.scalars(self.progress.step, {**meter.latest, **rates})
        self.bar.update()

    def _has_overflowed(self) -> bool:
        """Whether fp16 skipped the step, which Accelerate cannot tell for a fused optimizer."""
        if self.parts.state.scaler is None:
            return False
        before, self.scale = self.scale, self.parts.state.scaler.get_scale()
        return self.scale < before

    def _keep(self, meter: Meter) -> None:
        """Save in the middle of a long epoch, after checking that its losses are finite.

        Not at its last step: `finish_epoch` saves then, when progress is at the next epoch.
        """
        in_the_middle = self.progress.batch < self.parts.schedule.batches
        if in_the_middle and self.keeper.due:
            self._note_progress(meter)
            self.keeper.save_last()

    def _note_progress(self, meter: Meter) -> None:
        """Update the tally of the current epoch, and start the next epoch if it has ended."""
        meter.read()
        if self.progress.batch >= self.parts.schedule.batches:
            self.progress.epoch += 1
            self.progress.batch, self.progress.tally = 0, Tally()

    def _stop_requested(self) -> bool:
        """Whether any process got a stop request; all of them must stop at the same step."""
        if self.accelerator.num_processes == 1:
            return self.interrupt.requested
        if self.progress.step % STEPS_BETWEEN_STOP_CHECKS:  # a check costs a transfer
            return False
        asked = torch.tensor(float(self.interrupt.requested), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    @property
    def seconds_left(self) -> float:
        """Time to the end of the schedule, at the pace since this run started or was resumed."""
        # There may be no step yet, if a run was resumed at the end of an epoch.
        done = max(1, self.progress.step - self.started_at)
        pace = (time.monotonic() - self.started) / done
        return pace * (self.parts.schedule.total_steps - self.progress.step)

    @property
    def learning_rate(self) -> float:
        """Current learning rate of the first parameter group."""
        return self.parts.optimizer.param_groups[0]["lr"]


def _timed(loader: Iterable[dict], meter: Meter) -> Iterator[dict]:
    """Yield batches, adding up the time spent waiting for them."""
    batches = iter(loader)
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        meter.waiting += time.perf_counter() - asked
        if batch is None:
            return
        yield batch
