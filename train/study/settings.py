"""Compare the settings that a run was trained with to those of its recipe now."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from command_line.device import choose_device
from command_line.documents import read_json, read_mapping
from command_line.notes import note
from conventions.run_flags import HANDLING, PLACES
from models.files import digest_start
from models.shipped import NAME as SHIPPED
from models.shipped import find_shipped
from train.precision import has_bf16
from train.run_folder import ARGUMENTS, BEST
from train.study.jobs import SCORES, is_done, record_of
from train.study.study import Job, Study

# Flags that do not affect the last weights, and may differ between machines.
OF_NO_WEIGHT = PLACES | HANDLING | {"iouVal", "limit_val", "val_every"}
OF_EVERY_RUN = re.compile(r"seed\d+|last\.pth|epoch-\d+\.pth")


def check_settings(study: Study) -> None:
    """Refuse to continue if runs were trained, even partly, or scored with other settings.

    Raises:
        ValueError: a setting differs; names the file that records it, the setting and the remedy.
    """
    for job in study.jobs:
        again = f"give the run another name, or remove {_folders(job)} to have it anew"
        record = (job.results if is_done(job) else job.folder) / ARGUMENTS
        if record.exists():
            for flag, had, value in _differences(job, read_mapping(record)):
                raise ValueError(
                    f"{record}: trained with {flag} {_shown(had)}, and {study.path} says "
                    f"{_shown(value)}: {again}"
                )
        if not is_done(job) or study.score is None:
            continue
        scored = read_json(job.results / SCORES).get("subset")
        if scored != study.score:
            raise ValueError(
                f"{job.results / SCORES}: scored on {scored}, and {study.path} says {study.score}: "
                f"{again}"
            )


def note_other_starts(study: Study, left: Iterable[Job]) -> None:
    """Note which runs started from another `fields` file than the remaining ones would."""
    if not any(job.settings["pretrained"] == SHIPPED for job in left):
        return
    noted = {job: was for job in study.jobs if (was := record_of(job).get("fields_sha256"))}
    today = {model: digest_start(model) for model in {job.settings["model"] for job in noted}}
    if other := [job for job, was in noted.items() if was != today[job.settings["model"]]]:
        runs = ", ".join(dict.fromkeys(job.run for job in other))
        note(
            f"{study.path}: began with another file than '{SHIPPED}' names today: {runs}; what is "
            "left begins with today's, and cannot be compared with them"
        )


def note_emulated_precision(study: Study, left: Iterable[Job]) -> None:
    """Note which of the remaining runs compute in bf16 that this machine only emulates.

    The runs say so too, but where nobody looks: their output goes to files.
    """
    emulated = [
        job.run
        for job in left
        if job.settings["amp"] == "bf16" and not has_bf16(choose_device(job.settings["device"]))
    ]
    if emulated:
        note(
            f"{study.path}: this processor only emulates bf16 (amp), many times slower than "
            f"float32: {', '.join(dict.fromkeys(emulated))}"
        )


def _differences(job: Job, trained: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield flags whose values differ: name, value of the trained run, value of its recipe."""
    ended_by_steps = {"num_epochs"} if job.steps is not None else set()
    for name, value in job.settings.items():
        had = trained.get(name, value)  # the flag may be newer than the record
        if name in OF_NO_WEIGHT | ended_by_steps or had == value or _same_file(had, value):
            continue
        if name != "teacher":
            yield name.replace("_", "-"), had, value
        elif had and value:  # without one in the recipe, the newest was taken
            had, value = _called_teachers(had), _called_teachers(value)
            if sorted(had) != sorted(value):
                yield name, ", ".join(had), ", ".join(value)


def _same_file(had: Any, value: Any) -> bool:
    """Whether two values name the same file or folder, which another machine has elsewhere."""
    if not isinstance(had, str) or not isinstance(value, str):
        return False
    paths = Path(had), Path(value)
    return any(path.is_absolute() for path in paths) and len(set(map(_called, paths))) == 1


def _called_teachers(files: str | list[str]) -> list[str]:
    """Name teachers; a record holds the files that `models.files.resolve` found for them."""
    names = [files] if isinstance(files, str) else files
    return [_called(find_shipped(None) if name == SHIPPED else Path(name)) for name in names]


def _called(path: Path) -> str:
    """Name a file by what is the same on all machines: its name, and its run if all runs have it.

    A run folder stands for its best.pth, and a Hugging Face id for a folder of that library's
    cache, models--OWNER--NAME/snapshots/COMMIT.
    """
    if path.name == BEST:
        return _called(path.parent)
    if OF_EVERY_RUN.fullmatch(path.name):
        return f"{_called(path.parent)}/{path.name}"
    if path.parent.name == "snapshots":
        return path.parents[1].name.rpartition("--")[2]
    return path.name


def _folders(job: Job) -> str:
    return " and ".join(dict.fromkeys(map(str, (job.results, job.folder))))


def _shown(value: Any) -> Any:
    return "none" if value is None else value
