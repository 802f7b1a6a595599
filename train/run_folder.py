"""Run folders: naming, finding and checking them."""

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import torch

from command_line.documents import read_mapping
from models.description import check_saved_flags
from train.options import Options

BEST, LAST, ARGUMENTS, LOG = "best.pth", "last.pth", "args.yaml", "log.csv"
TEST_SCORES, RESULTS = "test.json", "results.json"
DATE = r"-\d{8}-\d{6}"  # appended to the name by `--savedate`
# Files that a run replaces while it trains; a killed process may have left temporary ones.
REPLACED = ("*.pth", ARGUMENTS, LOG, TEST_SCORES, RESULTS)


def new_run(options: Options) -> Path:
    """Return the folder of a new run; it is not created yet.

    Raises:
        ValueError: the folder already holds a run, and `--overwrite` was not given.
        OSError: the folder cannot be created or written to.
    """
    folder = options.folder
    if options.run.savedate:
        folder = folder.with_name(folder.name + datetime.now().strftime("-%Y%m%d-%H%M%S"))
    check_savedir(folder)
    if (folder / ARGUMENTS).exists() and not options.run.overwrite:
        resumable = "continue it with --resume, " if (folder / LAST).exists() else ""
        raise ValueError(
            f"{folder} already holds a run: {resumable}keep it and pass --run-name or --savedate, "
            "or replace it with --overwrite"
        )
    return folder


def has_saved(folder: Path) -> bool:
    """Whether the run in a folder has saved a checkpoint."""
    return any(folder.glob("*.pth"))


def discard_unsaved(folder: Path) -> None:
    """Remove the files of a run that failed before its first checkpoint."""
    assert not has_saved(folder), folder
    for path in (folder / ARGUMENTS, folder / LOG, *folder.glob("events.out.tfevents.*")):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def check_savedir(folder: Path) -> None:
    """Check that a run folder can be created and written to; it is not created yet.

    Raises:
        OSError: it cannot; names the path and the flag.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file; a run needs a folder: pass another --savedir")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{there} is not writable: pass another --savedir")


def find_run(options: Options) -> Path:
    """Find the newest run folder that `--resume` without a file can continue.

    Raises:
        FileNotFoundError: there is none.
    """
    wanted = options.folder
    runs = [wanted]
    if options.run.savedate:
        dated = re.compile(re.escape(wanted.name) + DATE)
        beside = wanted.parent.iterdir() if wanted.parent.is_dir() else ()
        runs = [path for path in beside if dated.fullmatch(path.name)]
    runs = [run for run in runs if (run / LAST).is_file()]
    if not runs:
        raise FileNotFoundError(
            f"--resume: no {LAST} in {wanted}{'-DATE' if options.run.savedate else ''}; start the "
            "run without --resume, or name the file with --resume FILE"
        )
    return max(runs, key=lambda run: (run / LAST).stat().st_mtime)


def check_place(checkpoint: Path, savedir: Path | None, run_name: str | None) -> None:
    """Check that no flag names another folder than the checkpoint's, where the run continues.

    Args:
        checkpoint: file of `--resume FILE`.
        savedir: from the command line; None if not given.
        run_name: likewise; with `--savedate`, the folder's name ends with a date.

    Raises:
        ValueError: one does; names the flag.
    """
    folder = checkpoint.parent
    flag = None
    if run_name is not None and not re.fullmatch(re.escape(run_name) + f"({DATE})?", folder.name):
        flag = f"--run-name {run_name}"
    elif savedir is not None and savedir.resolve() != folder.parent.resolve():
        flag = f"--savedir {savedir}"
    if flag is not None:
        raise ValueError(
            f"--resume {checkpoint} continues in {folder}: leave out {flag}, or resume a copy of "
            "that folder"
        )


def find_teacher(savedir: Path, dataset: str, datadir: Path | None, classes: Sequence[str]) -> Path:
    """Find the newest best.pth in `savedir` or `ckpt/` of a teacher of the same data and classes.

    Raises:
        FileNotFoundError: there is none.
    """
    candidates = [
        checkpoint
        for parent in dict.fromkeys((savedir, Path("ckpt")))
        for checkpoint in parent.glob(f"*/{BEST}")
        if _is_teacher_of(checkpoint.parent, dataset, datadir)
        and _classes_of(checkpoint) == list(classes)
    ]
    if not candidates:
        raise FileNotFoundError(
            f"no teacher for {dataset}{f' in {datadir}' if datadir else ''} with the classes "
            f"{', '.join(classes)} in {savedir}/ or ckpt/: train one with train/train_teacher.py "
            f"--dataset {dataset}, or pass --teacher CHECKPOINT"
        )
    return max(candidates, key=lambda path: path.stat().st_mtime)


def _is_teacher_of(folder: Path, dataset: str, datadir: Path | None) -> bool:
    try:
        saved = check_saved_flags(read_mapping(folder / ARGUMENTS), str(folder))
    except (OSError, ValueError):
        return False
    same = (saved.get("stage"), saved.get("dataset")) == ("teacher", dataset)
    return same and _place(saved.get("datadir")) == _place(datadir)


def _place(datadir: str | Path | None) -> Path | None:
    return None if datadir is None else Path(datadir).resolve()


def _classes_of(checkpoint: Path) -> list[str] | None:
    """Read the classes of a checkpoint; None if it has none or is damaged."""
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["classes"]
    except Exception:  # torch raises various exceptions for other files
        return None
