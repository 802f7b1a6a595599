"""The jobs of a study: which have ended, which are left, and how long they take."""

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
TRAINING = "training.json"  # on which machine a run was trained, and with which code


def is_done(job: Job) -> bool:
    """Whether a job was trained to the end and scored."""
    return (job.results / SCORES).exists()


def can_teach(job: Job) -> bool:
    """Whether a job has ended here: scores can be from another machine, and weights unfinished."""
    return is_done(job) and (job.folder / RESULTS).exists()


def teachers_of(study: Study, job: Job) -> list[Job]:
    """The jobs of the study that this one is distilled from."""
    return [other for other in study.jobs if other.folder in job.teachers]


def with_teachers(
    study: Study, jobs: Iterable[Job], is_needed: Callable[[Job], bool] = lambda teacher: True
) -> set[Job]:
    """The given jobs and, recursively, those of their teachers that are needed."""
    found: set[Job] = set()
    added = set(jobs)
    while added:
        found |= added
        teachers = {teacher for job in added for teacher in teachers_of(study, job)}
        added = {teacher for teacher in teachers - found if is_needed(teacher)}
    return found


def to_train(study: Study, jobs: Sequence[Job]) -> list[Job]:
    """Jobs that have not ended, and the teachers they need whose weights are not here."""
    unfinished = (job for job in jobs if not is_done(job))
    waiting = with_teachers(study, unfinished, lambda teacher: not can_teach(teacher))
    return [job for job in study.jobs if job in waiting]


def name_of(job: Job) -> str:
    """Display name of a job."""
    return f"{job.run}, seed {job.seed}"


def log_of(job: Job) -> Path:
    """File for a job's output: next to its folder, which the training script creates itself."""
    return job.folder.with_name(f"{job.folder.name}.log")


def steps_done(job: Job) -> int:
    """Optimizer steps in a job's log here; all of them if the job has ended here."""
    if can_teach(job) and job.steps:
        return job.steps
    steps = read_log(job.folder / LOG).get("step")
    return int(steps[-1]) if steps else 0


def seconds_per_step(job: Job) -> float | None:
    """Typical seconds per training step from a job's log, without validation; None without a log.

    It is the median over epochs. With `--kd-steps`, epochs with and without a teacher have separate
    medians, weighted by their numbers of steps in the whole run. With `--kd-cache`, the first
    epoch, in which the teacher runs, counts once, and the median of the others for the rest.
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
    """Number of processes that trained a job; 1 if it has not ended, or if it is unknown."""
    return record_of(job).get("processes", 1)


def record_of(job: Job) -> dict[str, Any]:
    """The record that a job wrote when it ended; empty if there is none."""
    records = (job.results / TRAINING, job.folder / RESULTS)
    record = next((path for path in records if path.exists()), None)
    return {} if record is None else read_json(record)


def seconds_left(study: Study, left: Sequence[Job], parallel: int) -> float | None:
    """Estimate the remaining time of jobs, from the pace of those that have begun.

    Returns:
        Seconds; None if no job has begun, or if the length of a remaining one is set in epochs.
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
    """Write the state of each job: done, or how many of its steps are done."""
    for job in jobs:
        state = f"{steps_done(job)} of {job.steps or '?'} steps" if job in left else "done"
        if job in left and is_done(job):
            state += "; it has scores but no weights here, and others learn from it"
        out(f"{name_of(job)}: {state}")
