"""Log a run's numbers and pictures to log.csv, TensorBoard and Visdom.

All trackers have the same methods; `Trackers` forwards calls to several.
"""

import csv
import html
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from command_line.outputs import replacing
from train.checkpoint import Progress
from train.run import Run
from train.run_folder import LOG

Scalars = Mapping[str, float]
NO_LOSSES = ("lr", "images_per_second")  # further values passed to `Tracker.scalars`


class Tracker:
    """Interface of a tracker; every method does nothing by default."""

    def scalars(self, step: int, values: Scalars) -> None:
        """Log the numbers of one optimizer step."""

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Log the summary of one epoch."""

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture (H, W, 3) uint8."""

    def final(self, scores: Scalars, step: int) -> None:
        """Log the final scores of a completed run, such as `best_miou`."""

    def close(self) -> None:
        """Close the tracker: the run has ended or was interrupted."""


class CsvLog(Tracker):
    """One row per epoch in log.csv, which is replaced atomically, so a kill never truncates it.

    Args:
        folder: of the run.
        progress: where the run starts or resumes; rows of later epochs, which are repeated, are
            removed.
        ended: whether nothing is left to train, so that no epoch is repeated.
    """

    def __init__(self, folder: Path, progress: Progress, ended: bool) -> None:
        self.path = folder / LOG
        self.rows = _rows_up_to(self.path, progress, ended)
        self._write()

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Append the row."""
        self.rows.append(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )
        self._write()

    def _write(self) -> None:
        columns = dict.fromkeys(name for row in self.rows for name in row)
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            if columns:
                writer.writeheader()
            writer.writerows(self.rows)


def _rows_up_to(path: Path, progress: Progress, ended: bool) -> list[dict[str, object]]:
    if progress.step == 0 or not path.exists():
        return []
    # A last epoch that --max-steps cut short has a row too. A run that is extended finishes that
    # epoch and logs it again; one that has ended keeps the row.
    column, last = ("step", progress.step) if ended else ("epoch", progress.epoch)
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row[column]) <= last]


class TensorBoardLog(Tracker):
    """Scalars per term, pictures, flags and final scores, for `tensorboard --logdir`.

    Args:
        folder: of the run.
        flags: shown as a table, and with the final scores in the HPARAMS tab.
        first_step: where the run starts or resumes; points after it are dropped.
        every: optimizer steps between two points of the loss curves.
    """

    def __init__(
        self, folder: Path, flags: Mapping[str, object], first_step: int, every: int
    ) -> None:
        self.every, self.flags = every, flags
        # TensorBoard drops points from `purge_step` on; + 1 keeps the validation at `first_step`.
        purged = first_step + 1 if first_step else None
        self.writer = SummaryWriter(folder, purge_step=purged)
        table = "\n".join(f"| {key} | {value} |" for key, value in flags.items())
        self.writer.add_text("flags", f"| flag | value |\n|---|---|\n{table}", first_step)

    def scalars(self, step: int, values: Scalars) -> None:
        """Add a point to one curve per name, under train/."""
        if step % self.every:
            return
        for name, value in values.items():
            self.writer.add_scalar(f"train/{name}", value, step)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Add a point to one curve per column, under epoch/."""
        for name, value in row.items():
            if value is not None:
                self.writer.add_scalar(f"epoch/{name}", value, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Add a picture under validation/."""
        self.writer.add_image(f"validation/{name}", image, step, dataformats="HWC")

    def final(self, scores: Scalars, step: int) -> None:
        """Add one value per score under at_end/, and the flags as hyperparameters.

        The HPARAMS tab lists all scalars by name, so at_end/ comes before epoch/ and train/.
        """
        for name, value in scores.items():
            self.writer.add_scalar(f"at_end/{name}", value, step)
        # SummaryWriter.add_hparams would create a subfolder, which TensorBoard treats as another
        # run. The first summary, a list of columns, is left out: TensorBoard applies that of one
        # run to all, hiding columns that only others have, such as the method. Without it,
        # TensorBoard finds the columns itself.
        _, *session = hparams(
            {name: _number_or_text(value) for name, value in self.flags.items()}, dict(scores)
        )
        for part in session:
            self.writer.file_writer.add_summary(part, step)  # type: ignore[attr-defined]  # is no None

    def close(self) -> None:
        """Write buffered data and close the file."""
        self.writer.close()


def _number_or_text(value: object) -> float | str | None:
    """Convert a flag to a type that TensorBoard supports; booleans become text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None if value is None else str(value)


class VisdomLog(Tracker):
    """Curves, pictures, flags and final scores on a Visdom server; it is not used after a failure.

    Args:
        port: of a server on this machine (`python -m visdom.server`).
        environment: Visdom environment of the run's windows.
        flags: shown as a table, below the final scores once there are any.
        every: optimizer steps between two points of the loss curves.
    """

    def __init__(
        self, port: int, environment: str, flags: Mapping[str, object], every: int
    ) -> None:
        import visdom  # slow to import, and few runs use it

        self.every, self.flags = every, flags
        self.client = None
        self.address = f"http://localhost:{port}"
        try:
            client = visdom.Visdom(
                port=port,
                env=environment,
                raise_exceptions=True,
                use_incoming_socket=False,
            )
        except Exception as error:  # from Visdom itself or its HTTP library
            self._give_up(error)
        else:
            self.client = client
            self._table({})

    def scalars(self, step: int, values: Scalars) -> None:
        """Add points to the window of loss terms; other values get their own windows and scales."""
        if step % self.every:
            return
        terms = {name: value for name, value in values.items() if name not in NO_LOSSES}
        self._line("losses", step, terms)
        for name in NO_LOSSES:
            self._line(name, step, {name: values[name]} if name in values else {})

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Add points to the mIoU window."""
        found = {name: row.get(name) for name in ("miou", "train_miou")}
        scores = {name: score for name, score in found.items() if score is not None}
        self._line("mIoU", step, scores)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Show a picture in its own window."""
        self._send(
            "image",
            image.transpose(2, 0, 1),
            win=f"picture {name}",
            opts={"title": f"{name}, step {step}"},
        )

    def final(self, scores: Scalars, step: int) -> None:
        """Show the final scores above the flags."""
        self._table({name: f"{value:.4f}" for name, value in scores.items()} | {"step": step})

    def _table(self, first: Mapping[str, object]) -> None:
        lines = (
            f"<b>{html.escape(name)}</b> {html.escape(str(value))}<br>"
            for name, value in (*first.items(), *self.flags.items())
        )
        options = {"title": "scores and flags", "width": 320, "height": 300}
        self._send("text", "".join(lines), win="run", opts=options)

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
        except Exception as error:  # as above; a dashboard must never end a run
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
        """Log the numbers of one optimizer step to all trackers."""
        for tracker in self.trackers:
            tracker.scalars(step, values)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Log the summary of one epoch to all trackers."""
        for tracker in self.trackers:
            tracker.epoch(row, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture (H, W, 3) uint8 to all trackers."""
        for tracker in self.trackers:
            tracker.picture(name, image, step)

    def final(self, scores: Scalars, step: int) -> None:
        """Log the final scores to all trackers."""
        for tracker in self.trackers:
            tracker.final(scores, step)

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self.trackers:
            tracker.close()


@contextmanager
def open_trackers(run: Run, progress: Progress, ended: bool) -> Iterator[Tracker]:
    """Open the trackers of a run, and close them at the end; only the first process has any.

    `ended` says that nothing is left to train.
    """
    trackers: list[Tracker] = []
    if run.accelerator.is_main_process:
        options, flags = run.options.logging, run.options.saved()
        trackers = [
            CsvLog(run.folder, progress, ended),
            TensorBoardLog(run.folder, flags, progress.step, options.steps_loss),
        ]
        if options.visualize:
            trackers.append(VisdomLog(options.port, run.folder.name, flags, options.steps_plot))
    together = Trackers(trackers)
    try:
        yield together
    finally:
        together.close()
