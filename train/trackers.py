"""Where a run's numbers and pictures go: log.csv, TensorBoard and Visdom.

Each tracker has the same four methods; `Trackers` calls them all.
"""

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from train.run_folder import LOG

Scalars = Mapping[str, float]


class Tracker:
    """What a tracker may do with a run; the default is nothing."""

    def scalars(self, step: int, values: Scalars) -> None:
        """Numbers of one optimizer step."""

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """The summary of one epoch."""

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture (H, W, 3) uint8."""

    def close(self) -> None:
        """The run has ended."""


class CsvLog(Tracker):
    """One row an epoch in log.csv; a resumed run cuts the rows it is about to repeat."""

    def __init__(self, folder: Path, epochs_done: int) -> None:
        path = folder / LOG
        kept = _rows_up_to(path, epochs_done)
        self.file = path.open("w", newline="")
        self.writer = None
        # At once: a run that has ended, or is interrupted before its next epoch does, adds no row.
        for row in kept:
            self._write(row)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Append the row and flush it, so that the file can be followed."""
        self._write(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )

    def _write(self, row: Mapping[str, object]) -> None:
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, list(row))
            self.writer.writeheader()
        self.writer.writerow(row)
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _rows_up_to(path: Path, epoch: int) -> list[dict[str, str]]:
    if epoch == 0 or not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["epoch"]) <= epoch]


class TensorBoardLog(Tracker):
    """Scalars per term, pictures and flags, for `tensorboard --logdir`.

    Args:
        folder: of the run.
        flags: shown as a table.
        first_step: of this part of the run; what an interrupted one drew beyond it is dropped.
        every: optimizer steps between two points of the loss curves.
    """

    def __init__(
        self, folder: Path, flags: Mapping[str, object], first_step: int, every: int
    ) -> None:
        self.every = every
        self.writer = SummaryWriter(folder, purge_step=first_step or None)
        table = "\n".join(f"| {key} | {value} |" for key, value in flags.items())
        self.writer.add_text("flags", f"| flag | value |\n|---|---|\n{table}", first_step)

    def scalars(self, step: int, values: Scalars) -> None:
        """One curve a name, under train/."""
        if step % self.every:
            return
        for name, value in values.items():
            self.writer.add_scalar(f"train/{name}", value, step)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """One curve a column, under epoch/."""
        for name, value in row.items():
            if value is not None:
                self.writer.add_scalar(f"epoch/{name}", value, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture under validation/."""
        self.writer.add_image(f"validation/{name}", image, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still buffered."""
        self.writer.close()


class VisdomLog(Tracker):
    """Losses, mIoU and pictures in a Visdom server; a server that fails is left alone.

    Args:
        port: of a server on this machine (`python -m visdom.server`).
        environment: the name that the run's windows are filed under.
        every: optimizer steps between two points of the loss curves.
    """

    def __init__(self, port: int, environment: str, every: int) -> None:
        import visdom  # its import is slow, and few runs use it

        self.every = every
        self.client = None
        self.address = f"http://localhost:{port}"
        try:
            client = visdom.Visdom(
                port=port,
                env=environment,
                raise_exceptions=True,
                use_incoming_socket=False,
            )
        except Exception as error:  # Visdom raises what its HTTP library does, and its own
            self._give_up(error)
        else:
            self.client = client

    def scalars(self, step: int, values: Scalars) -> None:
        """Add a point to the window of loss terms."""
        if step % self.every == 0:
            self._line("losses", step, values)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Add a point to the window of mIoU."""
        scores = {name: row[name] for name in ("miou", "train_miou") if row.get(name) is not None}
        self._line("mIoU", step, scores)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Show a picture in a window of its own."""
        self._send(
            "image",
            image.transpose(2, 0, 1),
            win=f"picture {name}",
            opts={"title": f"{name}, step {step}"},
        )

    def _line(self, window: str, step: int, values: Scalars) -> None:
        for name, value in values.items():
            self._send(
                "line",
                X=[step],
                Y=[value],
                win=window,
                name=name,
                update="append",
                opts={"title": window, "xlabel": "step", "showlegend": True},
            )

    def _send(self, kind: str, *content: object, **options: object) -> None:
        if self.client is None:
            return
        try:
            getattr(self.client, kind)(*content, **options)
        except Exception as error:  # as above: a dashboard must never end a run
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.client = None
        warnings.warn(
            f"no Visdom server at {self.address} ({type(error).__name__}); training goes on "
            "without it. Start one with: python -m visdom.server",
            stacklevel=3,
        )


class Trackers(Tracker):
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = list(trackers)

    def scalars(self, step: int, values: Scalars) -> None:
        """Numbers of one optimizer step, to all."""
        for tracker in self.trackers:
            tracker.scalars(step, values)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """The summary of one epoch, to all."""
        for tracker in self.trackers:
            tracker.epoch(row, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture (H, W, 3) uint8, to all."""
        for tracker in self.trackers:
            tracker.picture(name, image, step)

    def close(self) -> None:
        """The run has ended, for all."""
        for tracker in self.trackers:
            tracker.close()
