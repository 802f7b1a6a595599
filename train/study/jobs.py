"""The jobs of a study: what has ended, what is left, and how long it takes."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from command_line.documents import read_json
from eval.reporting.run_records import read_log
from train.run_folder import LOG, RESULTS
from train.study.study import Job, Study

SCORES, COUNTS = "scores.json", "counts.csv"
TRAINING = "training.json"  # where a run was trained, and by which code


def is_done(job: Job) -> bool:
    """Whether a job has been trained to its end and scored."""
    return (job.results / SCORES).exists()


def can_teach(job: Job) -> bool:
    """Whether a job has ended here: scores may be another machine's, and weights half trained."""
    return is_done(job) and (job.folder / RESULTS).exists()


def teachers_of(study: Study, job: Job) -> list[Job]:
    """The jobs whose weights this one learns from; none where they are none of the study."""
    return [other for other in study.jobs if other.folder in job.teachers]


def with_teachers(
    study: Study, jobs: Iterable[Job], is_needed: Callable[[Job], bool] = lambda teacher: True
) -> set[Job]:
    """Jobs, and the needed ones of their teachers, which may have teachers themselves."""
    found: set[Job] = set()
    added = set(jobs)
    while added:
        found |= added
        teachers = {teacher for job in added for teacher in teachers_of(study, job)}
        added = {teacher for teacher in teachers - found if is_needed(teacher)}
    return found


def to_train(study: Study, jobs: Sequence[Job]) -> list[Job]:
    """Jobs that have not ended, and the teachers that these need and that have no weights here."""
    unfinished = (job for job in jobs if not is_done(job))
    waiting = with_teachers(study, unfinished, lambda teacher: not can_teach(teacher))
    return [job for job in study.jobs if job in waiting]


def name_of(job: Job) -> str:
    """Name a job for people."""
    return f"{job.run}, seed {job.seed}"


def log_of(job: Job) -> Path:
    """Where a job's output goes: beside its folder, which a training script makes itself."""
    return job.folder.with_name(f"{job.folder.name}.log")


def steps_done(job: Job) -> int:
    """Optimizer steps whose weights are here; all of them where the job has ended here."""
    if can_teach(job) and job.steps:
        return job.steps
    steps = read_log(job.folder / LOG).get("step")
    return int(steps[-1]) if steps else 0


def seconds_per_step(job: Job) -> float | None:
    """Usual time of a training step from a job's log, without validation; None without a log.

    It is the median of epochs; with `--kd-steps`, of those with a teacher and of those without,
    weighed by how many steps of the whole run are of either kind; with `--kd-cache`, the first
    epoch, in which the teacher is asked, counts once, and the median of the others for the rest.
    """
    log = read_log((job.results if is_done(job) else job.folder) / LOG)
    if not log:
        return None
    images = job.images_per_step * processes_of(job)
    ends = log["step"]
    spans = zip([0.0, *ends[:-1]], ends, log["images_per_second"], strict=True)
    epochs = [(first, last, images / rate) for first, last, rate in spans if rate > 0]
    if not epochs:
        return None
    usual = statistics.median(pace for *_, pace in epochs)
    if job.steps is None:
        return usual
    changes = {0.0, float(job.steps)}
    if job.settings.get("kd_cache"):
        changes.add(ends[0])
    if (taught := job.settings.get("kd_steps")) is not None:
        changes.add(taught)
    phases = list(pairwise(sorted(step for step in changes if step <= job.steps)))
    paces = [
        [pace for first, last, pace in epochs if begin <= first and last <= end]
        for begin, end in phases
    ]
    if not all(paces):
        return usual
    lengths = (end - begin for begin, end in phases)
    seconds = (n * statistics.median(found) for n, found in zip(lengths, paces, strict=True))
    return sum(seconds) / job.steps


def processes_of(job: Job) -> int:
    """How many processes trained a job; 1 where it has not ended, or nothing says it."""
    return record_of(job).get("processes", 1)


def record_of(job: Job) -> dict[str, Any]:
    """What a job noted when it ended; empty where it has not, or from before such notes."""
    records = (job.results / TRAINING, job.folder / RESULTS)
    record = next((path for path in records if path.exists()), None)
    return {} if record is None else read_json(record)


def seconds_left(study: Study, left: Sequence[Job], parallel: int) -> float | None:
    """Estimate how long jobs take, from the pace of those that have begun.

    Returns:
        None where none has begun, or where epochs and not steps end one of the jobs.
    """
    if not left:
        return 0.0
    if any(job.steps is None for job in left):
        return None
    paces = {job: pace for job in study.jobs if (pace := seconds_per_step(job))}
    if not paces:
        return None
    usual = statistics.median(paces.values())
    seconds = 0.0
    for job in left:
        alike = [pace for other, pace in paces.items() if other.run == job.run]
        pace = statistics.median(alike) if alike else usual
        seconds += pace * max(0, (job.steps or 0) - steps_done(job))
    return seconds / parallel


def write_plan(jobs: Sequence[Job], left: Sequence[Job], out: Callable[[str], None]) -> None:
    """Say of each job whether it has ended, is half way, or has not begun."""
    for job in jobs:
        state = f"{steps_done(job)} of {job.steps or '?'} steps" if job in left else "done"
        if job in left and is_done(job):
            state += "; it has scores but no weights here, and others learn from it"
        out(f"{name_of(job)}: {state}")
