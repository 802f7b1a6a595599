"""Records in a run folder: the flags of the run, and one row of numbers per epoch.

Old folders lack files, and checkpoints are passed on without their folder: missing information is
omitted, or taken from the checkpoint.
"""

import csv
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_line.documents import read_json, read_mapping
from models.description import check_saved_flags

# The training scripts' file names; eval/ may not import train/.
ARGUMENTS, LOG, RESULTS = "args.yaml", "log.csv", "results.json"
SCORES = ("miou", "pixel_accuracy", "fwiou", "train_miou")
COUNTS = ("skipped_steps", "replaced_images")
NO_TERMS = ("epoch", "step", "lr", "images_per_second", "data_waiting", *COUNTS, *SCORES)
PER_CLASS = "iou_"

# Flags with special spellings: how they are switched off, and those that keep their underscores.
SWITCHED_OFF = {
    "flip": "--no-flip",
    "photometric": "--no-photometric",
    "gl_residual": "--no-gl-residual",
    "iouVal": "--iouVal false",
    "teacher_val": "--teacher-val false",
}
UNDERSCORED = ("visualize_outimages",)


@dataclass
class RunRecord:
    """How a run was trained.

    Attributes:
        folder: the run folder, or that of the checkpoint if a checkpoint was given.
        flags: resolved flags of the training script; empty if unknown.
        log: columns of log.csv by name, one value per epoch, nan for empty cells.
    """

    folder: Path
    flags: dict[str, Any]
    log: dict[str, list[float]]

    @property
    def steps(self) -> list[float]:
        """Optimizer step at the end of each epoch."""
        return self.log["step"]

    @property
    def terms(self) -> dict[str, list[float]]:
        """Weighted loss terms by name; `loss` is their sum."""
        return {
            name: values
            for name, values in self.log.items()
            if name not in NO_TERMS and not name.startswith(PER_CLASS)
        }

    @property
    def curves(self) -> list[tuple[str, list[float], list[float]]]:
        """Name, steps and values of each loss term."""
        return [(name, self.steps, values) for name, values in self.terms.items()]


def read_record(state: str, checkpoint_flags: Mapping[str, Any]) -> RunRecord:
    """Read the run folder of a checkpoint.

    Args:
        state: run folder or checkpoint; a name on a hub has neither log nor args.yaml.
        checkpoint_flags: `args` of the checkpoint, used if the folder has no args.yaml.

    Raises:
        ValueError: a file of the folder is broken.
    """
    folder = _folder_of(state)
    return RunRecord(folder, _read_flags(folder) or dict(checkpoint_flags), read_log(folder / LOG))


def read_data_digest(state: str) -> str | None:
    """Return `data_sha256` of the results.json of a run folder or checkpoint, None without one.

    It is of the names and sizes of the files that the run was trained and validated on.
    """
    try:
        results = read_json(_folder_of(state) / RESULTS)
    except (OSError, ValueError):
        return None
    digest = results.get("data_sha256") if isinstance(results, dict) else None
    return digest if isinstance(digest, str) else None


def _folder_of(state: str) -> Path:
    path = Path(state)
    return path if path.is_dir() else path.parent


def _read_flags(folder: Path) -> dict[str, Any]:
    path = folder / ARGUMENTS
    if not path.is_file():
        return {}
    return check_saved_flags(read_mapping(path), f"{path}; remove or repair it")


def read_log(path: Path) -> dict[str, list[float]]:
    """Read log.csv; {} if there is none, or no finished epoch in it.

    A run still in training may be writing its last row: an incomplete row is skipped.

    Raises:
        ValueError: the file is not CSV, a cell is not a number, or the column `step` is missing.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is broken: {error}; remove or repair it") from None
    if len(rows) < 2:
        return {}
    columns, *rows = rows
    if "step" not in columns:
        raise ValueError(f"{path} has no column 'step': it is not the log of a training run")
    rows = [row for row in rows if len(row) == len(columns)]
    try:
        values = [[float(cell) if cell else math.nan for cell in row] for row in rows]
    except ValueError as error:
        raise ValueError(f"{path} is broken: {error}; remove or repair it") from None
    return dict(zip(columns, map(list, zip(*values, strict=True)), strict=True)) if values else {}


def training_command(flags: Mapping[str, Any]) -> str | None:
    """Return the command that repeats a run from its saved flags; None if they have no stage.

    Every flag is written out, including defaults, so that the command means the same in a later
    release. Switches that are off by default are omitted when off.
    """
    if "stage" not in flags:
        return None
    words = ["python", f"train/train_{flags['stage']}.py"]
    for key, value in flags.items():
        if key != "stage":
            words += spell_flag(key, value)
    return shlex.join(words)


def spell_flag(key: str, value: Any) -> list[str]:
    """Convert a saved flag to words of a command line; empty if it is off or None."""
    if value is None:
        return []
    flag = f"--{key if key in UNDERSCORED else key.replace('_', '-')}"
    if value is False:
        return SWITCHED_OFF.get(key, "").split()
    if value is True:
        return [flag]
    if isinstance(value, list | tuple) and key == "image_size":
        return [flag, "x".join(map(str, value))]
    if isinstance(value, list | tuple):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
