"""Hours of a run, and how long is left."""

import pytest

from tests.train.study.examples import SMALL
from train.study.jobs import seconds_left, seconds_per_step
from train.study.recipe import read_study


def test_hours_are_those_of_all_processes_together(recipe):
    (job,) = read_study(recipe({"none": {"stage": "student"}}, flags=SMALL)).jobs
    job.folder.mkdir(parents=True)
    (job.folder / "log.csv").write_text("step,images_per_second\n2,8\n")
    assert seconds_per_step(job) == 2 / 8
    (job.folder / "results.json").write_text('{"processes": 4}')
    assert seconds_per_step(job) == 4 * 2 / 8


def test_a_teacher_that_is_asked_for_a_time_counts_for_that_time(recipe):
    """Two steps an epoch: 2 s each with the teacher, a mixed epoch, then 0.5 s each."""
    flags = {**SMALL, "max-steps": 10}
    runs = {"b1": {"stage": "teacher"}, "kd": {"teacher": "b1", "kd-steps": 3}}
    _, job = read_study(recipe(runs, flags=flags)).jobs
    job.folder.mkdir(parents=True)
    log = "step,images_per_second\n2,1\n4,3\n6,4\n8,4\n"
    (job.folder / "log.csv").write_text(log)
    assert seconds_per_step(job) == (3 * 2 + 7 * 0.5) / 10
    (job.folder / "log.csv").write_text(log[: log.index("4,3")])
    assert seconds_per_step(job) == 2


@pytest.mark.parametrize("more", [{}, {"kd-steps": 2}, {"kd-steps": 6}, {"kd-steps": 20}])
def test_the_epoch_in_which_a_cached_teacher_is_asked_counts_once(more, recipe):
    """Two steps an epoch: 2 s each while the teacher is asked, then 0.5 s each."""
    flags = {**SMALL, "max-steps": 10}
    cached = {"teacher": "b1", "method": "kd", "kd-cache": True, **more}
    _, job = read_study(recipe({"b1": {"stage": "teacher"}, "kd": cached}, flags=flags)).jobs
    job.folder.mkdir(parents=True)
    (job.folder / "log.csv").write_text("step,images_per_second\n2,1\n4,4\n6,4\n8,4\n")
    assert seconds_per_step(job) == (2 * 2 + 8 * 0.5) / 10


def test_no_time_is_told_where_epochs_end_a_run(recipe):
    runs = {"kd": {"stage": "student"}, "at": {"stage": "student", "max-steps": 10}}
    study = read_study(recipe(runs, flags={"batch-size": 2}))
    for job in study.jobs:
        job.folder.mkdir(parents=True)
        (job.folder / "log.csv").write_text("step,images_per_second\n4,4\n")
    assert seconds_left(study, study.jobs[1:], parallel=1) == 3
    assert seconds_left(study, study.jobs, parallel=1) is None


def test_time_left_follows_the_pace_of_runs_of_the_kind(recipe):
    """Batches of two: 4 and 1 images a second are 0.5 and 2 seconds per step."""
    runs = {"kd": {"stage": "student"}, "at": {"stage": "student"}, "cwd": {"stage": "student"}}
    settings = {**SMALL, "max-steps": 10}
    study = read_study(recipe(runs, seeds=[0, 1], flags=settings))
    assert seconds_left(study, study.jobs, parallel=1) is None
    for job, step, rate in ((study.jobs[0], 4, 4.0), (study.jobs[2], 10, 1.0)):
        job.folder.mkdir(parents=True)
        (job.folder / "log.csv").write_text(f"step,images_per_second\n{step},{rate}\n")
    kd, at, cwd = 0.5 * (6 + 10), 2 * (0 + 10), 1.25 * (10 + 10)
    assert seconds_left(study, study.jobs, parallel=1) == kd + at + cwd
    assert seconds_left(study, study.jobs, parallel=2) == (kd + at + cwd) / 2
