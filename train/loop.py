"""The one training loop of all stages.

It knows a task (batch to loss and named terms), never a method. A step's random draws follow from
(seed, epoch, batch, process), so that a resumed run repeats the uninterrupted one bit for bit.
"""

import math
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

from command_line.memory import memory_advice
from datasets.mixing import BatchMixing
from datasets.sampling import EpochSampler, derive_seed
from train.checkpoint import Keeper, Progress
from train.trackers import Tracker

STEPS_PER_HEARING = 10
STEP_STREAM = 1  # keeps the seeds of training steps apart from those of data order


class NonFiniteLossError(ValueError):
    """A loss term became infinite or not a number; going on would destroy the weights."""


@dataclass
class Schedule:
    """How long training lasts, in optimizer steps and epochs of so many batches."""

    batches: int
    accumulate: int
    steps_per_epoch: int
    total_steps: int

    @classmethod
    def of(cls, batches: int, accumulate: int, epochs: int, max_steps: int | None) -> "Schedule":
        """Count steps for `batches` an epoch; a rest shorter than `accumulate` is a step too."""
        steps_per_epoch = math.ceil(batches / accumulate)
        return cls(batches, accumulate, steps_per_epoch, max_steps or epochs * steps_per_epoch)

    def group_size(self, batch: int) -> int:
        """Batches in the optimizer step that the given batch of an epoch (from 0) belongs to."""
        first = batch - batch % self.accumulate
        return min(self.accumulate, self.batches - first)

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return math.ceil(self.total_steps / self.steps_per_epoch)


@dataclass
class Meter:
    """Means of the loss terms and rates of one epoch, read from the device in few transfers."""

    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    latest: dict[str, float] = field(default_factory=dict)
    count: int = 0
    images: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Remember a step's terms without waiting for the device."""
        self.pending.append((step, {name: value.detach() for name, value in terms.items()}))

    def read(self) -> None:
        """Fetch the remembered terms.

        Raises:
            NonFiniteLossError: naming the step and the term.
        """
        if not self.pending:
            return
        names = list(self.pending[0][1])
        rows = torch.stack([torch.stack(list(terms.values())) for _, terms in self.pending])
        for (step, _), row in zip(self.pending, rows.float().tolist(), strict=True):
            values = dict(zip(names, row, strict=True))
            _check_finite(step, values)
            self.count += 1
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.latest = values
        self.pending.clear()

    def means(self) -> dict[str, float]:
        """Mean of each term over the steps read so far."""
        return {name: total / self.count for name, total in self.sums.items()}

    @property
    def images_per_second(self) -> float:
        """Images of all processes a second, data waiting included."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data, 0 to 1."""
        return self.waiting / self.seconds if self.seconds else 0.0


def _check_finite(step: int, values: dict[str, float]) -> None:
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        # The sum is broken by its terms: name the culprit, not the sum.
        term = next((name for name in broken if name != "loss"), "loss")
        raise NonFiniteLossError(
            f"step {step}: loss term '{term}' is {values[term]}; nothing was saved after it. "
            "Try a lower --lr, --clip-grad 1, or --amp none"
        )


class Interrupt:
    """Turns Ctrl-C and SIGTERM into a request to save and stop after the current step."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator["Interrupt"]:
        """Handle the signals inside the block; a second one ends the program at once."""
        previous = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def _request(self, signum: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@dataclass
class Loop:
    """Steps a task through its epochs.

    Args:
        accelerator: devices, precision and processes; task, loader and optimizer come prepared.
        task: images and labels to {"loss", <terms>}.
        sampler: of the loader; told which epoch to draw and where in it to begin.
        batch_size: images a batch, all processes together.
        log_every: the trackers get the loss terms at multiples of any of these steps.
        keeper: saves in the middle of a long epoch; only the first process has one.
        average: follows the student's weights, None without `--ema`.
        mixing: batch augmentation, images and labels to images and labels.
        interrupted: the last epoch was left early because the user asked for it.
    """

    accelerator: Accelerator
    task: nn.Module
    loader: Iterable[dict]
    sampler: EpochSampler
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    schedule: Schedule
    progress: Progress
    tracker: Tracker
    seed: int
    batch_size: int
    clip_grad: float | None
    log_every: Sequence[int]
    average: ModelEmaV3 | None = None
    mixing: BatchMixing | None = None
    keeper: Keeper | None = None
    interrupted: bool = False

    def run_epoch(self, bar: tqdm, interrupt: Interrupt) -> Meter:
        """Train to the end of the current epoch, of the schedule, or to an interrupt.

        Raises:
            NonFiniteLossError: see `Meter.read`.
            ValueError: a step needs more memory than there is.
        """
        meter = Meter()
        self.task.train()
        self.sampler.skip = self.progress.batch * self.batch_size
        self.loader.set_epoch(self.progress.epoch)
        started = time.perf_counter()
        for batch in _timed(self.loader, meter):
            self._step(batch, meter)
            meter.seconds = time.perf_counter() - started
            self.progress.batch += 1
            if not self.accelerator.sync_gradients:
                continue
            self._finish_step(meter, bar)
            self._keep(meter)
            self.interrupted = self._all_hear(interrupt)
            if self.interrupted or self.done:
                break
        meter.read()
        if self.progress.batch >= self.schedule.batches:
            self.progress.epoch += 1
            self.progress.batch = 0
        return meter

    def _step(self, batch: dict, meter: Meter) -> None:
        progress, process = self.progress, self.accelerator.process_index
        draw = (self.seed, STEP_STREAM, progress.epoch, progress.batch, process)
        torch.manual_seed(derive_seed(*draw))
        advice = (
            f"step {progress.step + 1} needs more memory than there is: halve --batch-size and "
            "double --accumulate, or pass a smaller --height and --width"
        )
        task = self.accelerator.unwrap_model(self.task)
        task.begin_step(progress.step)
        with memory_advice(advice), self.accelerator.accumulate(self.task):
            images, labels = batch["image"], batch["label"].long()
            if self.mixing is not None:
                images, labels = self.mixing(images, labels)
            terms = self.task(images, labels)
            # Accelerate divides by --accumulate, also in the last, smaller group of an epoch.
            missing = self.schedule.accumulate / self.schedule.group_size(progress.batch)
            self.accelerator.backward(terms["loss"] * missing)
            if self.clip_grad is not None and self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.task.parameters(), self.clip_grad)
            self.optimizer.step()
            self.optimizer.zero_grad()
        meter.images += self.batch_size
        meter.add(progress.step + 1, terms)

    def _finish_step(self, meter: Meter, bar: tqdm) -> None:
        if not self.accelerator.optimizer_step_was_skipped:  # fp16 overflowed: nothing was learnt
            self.scheduler.step()
        self.progress.step += 1
        if self.average is not None:
            student = self.accelerator.unwrap_model(self.task).student
            self.average.update(student, step=self.progress.step)
        on_log = any(self.progress.step % every == 0 for every in self.log_every)
        if on_log or self.accelerator.device.type == "cpu":  # reading a GPU stalls it
            meter.read()
            bar.set_postfix_str(_postfix(meter, self.learning_rate), refresh=False)
        if on_log:
            rates = {"lr": self.learning_rate, "images_per_second": meter.images_per_second}
            self.tracker.scalars(self.progress.step, {**meter.latest, **rates})
        bar.update()

    def _keep(self, meter: Meter) -> None:
        """Save a long epoch's middle, after a look at the losses that led there.

        Not at its last step: `Keeper.after_epoch` saves that, when the next epoch has been begun.
        """
        in_the_middle = self.progress.batch < self.schedule.batches
        if in_the_middle and self.keeper is not None and self.keeper.due:
            meter.read()
            self.keeper.save_last()

    def _all_hear(self, interrupt: Interrupt) -> bool:
        """Whether any process was asked to stop; all of them must leave at the same step."""
        if self.accelerator.num_processes == 1:
            return interrupt.requested
        if self.progress.step % STEPS_PER_HEARING:  # asking costs a transfer
            return False
        asked = torch.tensor(float(interrupt.requested), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    @property
    def done(self) -> bool:
        """Whether the schedule has ended."""
        return self.progress.step >= self.schedule.total_steps

    @property
    def learning_rate(self) -> float:
        """Of the first parameter group, now."""
        return self.optimizer.param_groups[0]["lr"]


def _timed(loader: Iterable[dict], meter: Meter) -> Iterator[dict]:
    """Pass batches on, adding up the time it takes to get them."""
    batches = iter(loader)
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        meter.waiting += time.perf_counter() - asked
        if batch is None:
            return
        yield batch


def _postfix(meter: Meter, learning_rate: float) -> str:
    terms = " ".join(f"{name} {value:.3f}" for name, value in meter.latest.items())
    return (
        f"{terms} | lr {learning_rate:.1e} | {meter.images_per_second:.1f} img/s | "
        f"data {meter.waiting_share:.0%}"
    )
