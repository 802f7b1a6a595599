"""Compare the settings that a run was trained with to those of its recipe now."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from command_line.documents import read_json, read_mapping
from command_line.notes import note
from models.shipped import NAME as SHIPPED
from models.shipped import digest_start
from train.run_folder import ARGUMENTS
from train.study.jobs import SCORES, is_done, record_of
from train.study.study import Job, Study

# Paths, and flags that do not affect the last weights; both may differ between machines.
PLACES = frozenset({"savedir", "run_name", "datadir", "teacher", "unlabelled"})
HANDLING = frozenset(
    {"cache", "device", "num_workers", "port", "visualize", "visualize_outimages", "epochs_save",
     "steps_loss", "steps_plot", "savedate", "iouTrain", "iouVal", "val_every", "limit_val",
     "teacher_val"}
)  # fmt: skip


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


def _differences(job: Job, trained: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield flags whose values differ: name, value of the trained run, value of its recipe."""
    ended_by_steps = {"num_epochs"} if job.steps is not None else set()
    for name, value in job.settings.items():
        had = trained.get(name, value)  # the flag may be newer than the record
        if name in PLACES | HANDLING | ended_by_steps or had == value or _is_path(had, value):
            continue
        yield name.replace("_", "-"), had, value
    if job.teachers and (files := trained.get("teacher")):
        had, now = _runs_of(files), _runs_of(job.settings["teacher"])
        # An ensemble can also contain files, which may have moved.
        known = {_run_of(folder) for folder in job.teachers}
        if len(had) != len(now) or not known <= set(had):
            yield "teacher", ", ".join(had), ", ".join(now)


def _runs_of(files: str | list[str]) -> list[str]:
    """Names of the runs that teacher files belong to."""
    return [_run_of(Path(file).parent) for file in ([files] if isinstance(files, str) else files)]


def _run_of(folder: Path) -> str:
    """Name a run and its seed by its folder, independent of the study's location."""
    return f"{folder.parent.name}/{folder.name}"


def _folders(job: Job) -> str:
    return " and ".join(dict.fromkeys(map(str, (job.results, job.folder))))


def _shown(value: Any) -> Any:
    return "none" if value is None else value


def _is_path(*values: Any) -> bool:
    return any(isinstance(value, str) and Path(value).is_absolute() for value in values)
