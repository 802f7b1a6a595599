"""Save the checkpoints of a run.

`best.pth` holds only the network to deploy and its description. `last.pth` also holds everything
that the next step depends on: adapters, optimizer, schedule, loss scaler and progress. RNG state is
not saved, because every seed is derived from (seed, epoch, batch).
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from timm.utils import ModelEmaV3
from torch import nn

from command_line.outputs import replacing
from models import Segmenter, load_checkpoint, save_checkpoint
from models.description import check_saved_flags
from train.meter import Tally
from train.run_folder import ARGUMENTS, BEST, LAST, TEST_SCORES

SAVE_AFTER_SECONDS = 300  # a crash loses at most about this much work


@dataclass
class Progress:
    """Progress of a run: epochs finished, batches of the current one, optimizer steps.

    `batch` counts the batches of each of `processes`. An epoch has `images` labelled images, whose
    names have the digest `names`, and draws from `unlabelled` ones. `start` and `teachers` are the
    digests of the files that training started from and that the teachers are from, if any; `fields`
    is `start` if that is a `fields` file. These six are None in checkpoints that predate them.
    `tally` is that of the current epoch; it is logged at its end.
    """

    processes: int = 1
    images: int | None = None
    names: str | None = None
    unlabelled: int | None = None
    fields: str | None = None
    start: str | None = None
    teachers: list[str] | None = None
    epoch: int = 0
    batch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    best_miou: float | None = None
    best_epoch: int | None = None


@dataclass
class TrainingState:
    """The parts of a run whose state a resumed run needs, besides the student.

    `average` is the moving average of the student's weights (`--ema`); if set, checkpoints hold it
    as the network, and the student's own weights as part of this state.
    """

    distiller: nn.Module | None
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    scaler: Any | None
    progress: Progress
    average: ModelEmaV3 | None = None

    def deployed(self, student: Segmenter) -> Segmenter:
        """The network that is validated and saved: the average if there is one, or the student."""
        return student if self.average is None else cast(Segmenter, self.average.module)


@dataclass
class Keeper:
    """Decides when to save which checkpoint.

    Args:
        folder: of the run.
        student: the network, unwrapped.
        info: description stored in checkpoints, without scores.
        state: further content of last.pth.
        every: keep every Nth epoch under its own name; 0 for none.
        metrics: the latest scores.
        saved_step: optimizer step of last.pth; None before it is written.
        writes: whether this process writes files; only the first one does.
    """

    folder: Path
    student: Segmenter
    info: dict
    state: TrainingState
    every: int
    metrics: dict
    saved_step: int | None
    writes: bool
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def network(self) -> Segmenter:
        """The network that is stored in checkpoints."""
        return self.state.deployed(self.student)

    @property
    def due(self) -> bool:
        """Whether the last save was more than `SAVE_AFTER_SECONDS` ago."""
        return self.writes and time.monotonic() - self.saved_at > SAVE_AFTER_SECONDS

    @property
    def kept(self) -> str:
        """Message about what is left of the run after an outage."""
        if self.saved_step is None:
            return "nothing was saved yet"
        return f"{self.folder / LAST} of step {self.saved_step} is kept: --resume continues it"

    def after_epoch(self, scores: dict, *, ended: bool, validated: bool) -> None:
        """Record the scores of the epoch that just ended, and save best.pth and kept epochs if due.

        The state of the run is saved separately, by `save_last`, after the epoch is logged: a run
        that is killed in between repeats the epoch, so its log misses no row.
        """
        if self.writes:
            self._check_folder()
        progress = self.state.progress
        # As in the log, a last epoch that --max-steps cut short is counted.
        epoch = progress.epoch + (progress.batch > 0)
        if validated:
            self.metrics = {**scores, "epoch": epoch, "step": progress.step}
        best = progress.best_miou
        if "miou" in scores and (best is None or scores["miou"] > best):
            progress.best_miou, progress.best_epoch = scores["miou"], epoch
            self.save_student(BEST)
        elif ended and best is None and "miou" not in scores:
            self.save_student(BEST)  # never validated: use the last weights
        # Here, a last epoch that --max-steps cut short is not counted.
        if self.every and progress.batch == 0 and progress.epoch % self.every == 0:
            self.save_student(f"epoch-{progress.epoch:04d}.pth", scored=validated)

    def save_student(self, name: str, scored: bool = True) -> None:
        """Write the network only, with the latest scores if `scored`."""
        self._check_weights()
        info = {**self.info, "metrics": self.metrics if scored else {}}
        if self.writes:
            save_checkpoint(self.folder / name, self.network, info)

    def save_last(self) -> None:
        """Write last.pth, from which the run can be resumed, with the latest scores.

        Raises:
            ValueError: the weights are no longer finite; the previous last.pth is kept.
            FileNotFoundError: the run folder has disappeared.
        """
        self._check_weights()
        info = {**self.info, "metrics": self.metrics}
        if self.writes:
            self._check_folder()
            save_training(self.folder / LAST, self.student, info, self.state)
        self.saved_at, self.saved_step = time.monotonic(), self.state.progress.step

    def _check_folder(self) -> None:
        """Refuse to recreate a run folder that was moved or removed."""
        if not (self.folder / ARGUMENTS).exists():
            raise FileNotFoundError(
                f"{self.folder}: {ARGUMENTS} has gone, the run folder was moved or removed in step "
                f"{self.state.progress.step}: nothing more is written"
            )

    def _check_weights(self) -> None:
        """Refuse non-finite weights, which otherwise only the next step's loss would reveal."""
        if not all(weight.isfinite().all() for weight in self.student.parameters()):
            raise ValueError(
                f"step {self.state.progress.step}: the network's weights are no longer finite; "
                "nothing was saved after it. Try a lower --lr, --clip-grad 1, or --amp none"
            )

    def load_best(self) -> None:
        """Load the weights of best.pth into `network`."""
        load_weights(self.folder / BEST, self.network)

    def write_test_scores(self, split: str, scores: dict) -> None:
        """Write the scores of `--test-split` to test.json."""
        text = json.dumps({"split": split, "checkpoint": BEST, **scores}, indent=2)
        if self.writes:
            with replacing(self.folder / TEST_SCORES) as temporary:
                temporary.write_text(text + "\n")


def save_training(path: Path, student: Segmenter, info: dict, state: TrainingState) -> None:
    """Write everything a resumed run needs, atomically via a temporary file."""
    training = {
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler.state_dict(),
        "scaler": state.scaler.state_dict() if state.scaler is not None else None,
        "progress": asdict(state.progress),
    }
    if state.average is not None:
        training["student"] = student.state_dict()
    adapters = state.distiller.state_dict() if state.distiller is not None else None
    network = state.deployed(student)
    save_checkpoint(path, network, info, training=training, adapters=adapters)


def load_weights(path: Path, network: Segmenter) -> dict:
    """Load a checkpoint's weights into an existing network; return its other entries."""
    saved, info = load_checkpoint(
        path, model=network.name, num_classes=network.num_classes, resume=True
    )
    network.load_state_dict(saved.state_dict())
    return info


def read_arguments(path: Path) -> dict[str, Any]:
    """Read the flags of the run that wrote a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a checkpoint of this project.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--resume {path}: no such file")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        arguments = check_saved_flags(saved["args"], str(path))
    except Exception:  # torch raises various exceptions for other files
        raise ValueError(
            f"--resume {path} is not a checkpoint of a training run; its folder's {ARGUMENTS} and "
            "last.pth are written by the training scripts"
        ) from None
    return arguments
