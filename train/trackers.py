"""Where a run's numbers and pictures go: log.csv, TensorBoard and Visdom.

Each tracker has the same methods; `Trackers` calls them all.
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
NO_LOSSES = ("lr", "images_per_second")  # what else `Tracker.scalars` is given


class Tracker:
    """What a tracker may do with a run; the default is nothing."""

    def scalars(self, step: int, values: Scalars) -> None:
        """Numbers of one optimizer step."""

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """The summary of one epoch."""

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture (H, W, 3) uint8."""

    def final(self, scores: Scalars, step: int) -> None:
        """What a run that came to its end has reached, such as `best_miou`."""

    def close(self) -> None:
        """Nothing more comes: the run has ended or was interrupted."""


class CsvLog(Tracker):
    """One row per epoch in log.csv, which is replaced as a whole: no kill leaves half of it.

    Args:
        folder: of the run.
        progress: where the run begins or continues; rows of later epochs, which it repeats, go.
        ended: whether nothing is left to train, so that no epoch is repeated.
    """

    def __init__(self, folder: Path, progress: Progress, ended: bool) -> None:
        self.path = folder / LOG
        self.rows = _rows_up_to(self.path, progress, ended)
        self._write()

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Add the row."""
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
    # A last epoch that --max-steps cut short has a row too. A run that is made longer finishes
    # that epoch and logs it anew; one that has ended keeps the row.
    column, last = ("step", progress.step) if ended else ("epoch", progress.epoch)
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row[column]) <= last]


class TensorBoardLog(Tracker):
    """Scalars per term, pictures, flags and final scores, for `tensorboard --logdir`.

    Args:
        folder: of the run.
        flags: shown as a table, and beside the final scores in the tab HPARAMS.
        first_step: where the run begins or continues; what was drawn beyond it is dropped.
        every: optimizer steps between two points of the loss curves.
    """

    def __init__(
        self, folder: Path, flags: Mapping[str, object], first_step: int, every: int
    ) -> None:
        self.every, self.flags = every, flags
        # TensorBoard drops what has this step or a later one: the validation at `first_step` stays.
        purged = first_step + 1 if first_step else None
        self.writer = SummaryWriter(folder, purge_step=purged)
        table = "\n".join(f"| {key} | {value} |" for key, value in flags.items())
        self.writer.add_text("flags", f"| flag | value |\n|---|---|\n{table}", first_step)

    def scalars(self, step: int, values: Scalars) -> None:
        """One curve per name, under train/."""
        if step % self.every:
            return
        for name, value in values.items():
            self.writer.add_scalar(f"train/{name}", value, step)

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """One curve per column, under epoch/."""
        for name, value in row.items():
            if value is not None:
                self.writer.add_scalar(f"epoch/{name}", value, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture under validation/."""
        self.writer.add_image(f"validation/{name}", image, step, dataformats="HWC")

    def final(self, scores: Scalars, step: int) -> None:
        """One number per score under at_end/, and the flags that led to them as hyper-parameters.

        The tab HPARAMS lists all scalars by name: at_end/ comes before epoch/ and train/.
        """
        for name, value in scores.items():
            self.writer.add_scalar(f"at_end/{name}", value, step)
        # SummaryWriter.add_hparams would make a sub-folder, which TensorBoard takes for another
        # run. The first summary, a list of columns, is left out: TensorBoard uses that of one run
        # for all and so hides what only others have, such as the method. It finds columns itself.
        _, *session = hparams(
            {name: _number_or_text(value) for name, value in self.flags.items()}, dict(scores)
        )
        for part in session:
            self.writer.file_writer.add_summary(part, step)  # type: ignore[attr-defined]  # is no None

    def close(self) -> None:
        """Write what is still buffered."""
        self.writer.close()


def _number_or_text(value: object) -> float | str | None:
    """A flag as TensorBoard can hold it; true and false stay words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None if value is None else str(value)


class VisdomLog(Tracker):
    """Curves, pictures, flags and final scores in a Visdom server; one that fails is left alone.

    Args:
        port: of a server on this machine (`python -m visdom.server`).
        environment: the name that the run's windows are filed under.
        flags: shown as a table, with the final scores above them once there are any.
        every: optimizer steps between two points of the loss curves.
    """

    def __init__(
        self, port: int, environment: str, flags: Mapping[str, object], every: int
    ) -> None:
        import visdom  # its import is slow, and few runs use it

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
        except Exception as error:  # Visdom raises what its HTTP library does, and its own
            self._give_up(error)
        else:
            self.client = client
            self._table({})

    def scalars(self, step: int, values: Scalars) -> None:
        """Add a point to the window of loss terms; what is not a loss has its own scale."""
        if step % self.every:
            return
        terms = {name: value for name, value in values.items() if name not in NO_LOSSES}
        self._line("losses", step, terms)
        for name in NO_LOSSES:
            self._line(name, step, {name: values[name]} if name in values else {})

    def epoch(self, row: Mapping[str, float | None], step: int) -> None:
        """Add a point to the window of mIoU."""
        found = {name: row.get(name) for name in ("miou", "train_miou")}
        scores = {name: score for name, score in found.items() if score is not None}
        self._line("mIoU", step, scores)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Show a picture in a window of its own."""
        self._send(
            "image",
            image.transpose(2, 0, 1),
            win=f"picture {name}",
            opts={"title": f"{name}, step {step}"},
        )

    def final(self, scores: Scalars, step: int) -> None:
        """Put the final scores above the flags."""
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

    def final(self, scores: Scalars, step: int) -> None:
        """The final scores, to all."""
        for tracker in self.trackers:
            tracker.final(scores, step)

    def close(self) -> None:
        """The run has ended, for all."""
        for tracker in self.trackers:
            tracker.close()


@contextmanager
def open_trackers(run: Run, progress: Progress, ended: bool) -> Iterator[Tracker]:
    """The trackers of a run, closed at the end; other processes than the first have none.

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
