"""What a run that has ended was trained with, beside what its recipe says now."""

from pathlib import Path
from typing import Any

from command_line.documents import read_json, read_mapping
from train.run_folder import ARGUMENTS
from train.study.jobs import SCORES, is_done
from train.study.study import Job, Study

# Where things are, and what changes no number; they may differ from machine to machine.
PLACES = frozenset({"savedir", "run_name", "datadir", "teacher", "unlabelled"})
HANDLING = frozenset({"cache", "device", "num_workers", "port", "visualize", "epochs_save"})


def check_settings(study: Study) -> None:
    """Refuse to go on where runs have ended that were trained or scored otherwise.

    Raises:
        ValueError: naming the file that says so, the setting and the remedy.
    """
    for job in filter(is_done, study.jobs):
        again = f"give the run another name, or remove {_folders(job)} to have it anew"
        record = job.results / ARGUMENTS
        if record.exists():
            trained = read_mapping(record)
            for name, value in job.settings.items():
                had = trained.get(name, value)
                if name not in PLACES | HANDLING and had != value and not _is_path(had, value):
                    flag = name.replace("_", "-")
                    raise ValueError(
                        f"{record}: trained with {flag} {_shown(had)}, and {study.path} says "
                        f"{_shown(value)}: {again}"
                    )
        scored = read_json(job.results / SCORES).get("subset")
        if study.score is not None and scored != study.score:
            raise ValueError(
                f"{job.results / SCORES}: scored on {scored}, and {study.path} says {study.score}: "
                f"{again}"
            )


def _folders(job: Job) -> str:
    return " and ".join(dict.fromkeys(map(str, (job.results, job.folder))))


def _shown(value: Any) -> Any:
    return "none" if value is None else value


def _is_path(*values: Any) -> bool:
    return any(isinstance(value, str) and Path(value).is_absolute() for value in values)
