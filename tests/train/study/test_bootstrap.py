"""Intervals over seeds and images."""

import numpy as np
import pytest

from tests.train.study.examples import write_result
from train.study.bootstrap import bootstrap
from train.study.comparison import outcomes
from train.study.recipe import read_study


def test_images_that_are_void_all_over_do_not_spoil_the_interval(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    study = read_study(recipe(runs, baseline="none", seeds=[0, 1]))
    scored = np.array([[[300], [1000]], [[500], [1000]]])
    for job, gain in zip(study.jobs, (0, 10, 40, 60), strict=True):
        counts = scored + [[[gain], [0]]]
        write_result(job, np.concatenate((counts, np.zeros((2, 2, 1), int))))
    pairs = list(zip(study.runs["kd"], study.runs["none"], strict=True))
    groups = [[(kd, 1.0), (none, -1.0)] for kd, none in pairs]
    with_void = bootstrap(groups)
    for job, gain in zip(study.jobs, (0, 10, 40, 60), strict=True):
        write_result(job, scored + [[[gain], [0]]])
    assert with_void == bootstrap(groups)
    assert np.isfinite(with_void[1]).all()


def test_the_difference_is_paired_over_seeds_and_images(recipe):
    study = read_study(
        recipe(
            {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}},
            seeds=[0, 1],
            baseline="none",
        )
    )
    # Each image and seed has its own level; the distilled run is always 10 points above.
    for job in study.jobs:
        gain = 100 if job.run == "kd" else 0
        levels = np.array([200, 500, 800]) + 50 * job.seed + gain
        write_result(job, np.stack([levels, np.full(3, 1000)], axis=1)[:, :, None])
    none, kd = outcomes(study)
    assert none.scores == pytest.approx((50, 55)) and kd.mean == pytest.approx(62.5)
    assert none.difference is None
    # What is common to both runs is no uncertainty of their difference.
    assert kd.difference == pytest.approx(10) and kd.interval == pytest.approx((10, 10))
    assert kd.spread == pytest.approx(5 / 2**0.5)


@pytest.mark.parametrize(
    "gains, difference, interval",
    [
        ([80], 8, None),  # what the next seed gains, nobody knows
        ([80, 120], 10, (10 - 2 * 2**0.5, 10 + 2 * 2**0.5)),  # one draw in four is seed 0 twice
    ],
)
def test_the_interval_knows_how_few_seeds_there_are(gains, difference, interval, recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    study = read_study(recipe(runs, seeds=list(range(len(gains))), baseline="none"))
    for job in study.jobs:
        gain = gains[job.seed] if job.run == "kd" else 0
        levels = np.array([200, 500, 800]) + gain
        write_result(job, np.stack([levels, np.full(3, 1000)], axis=1)[:, :, None])
    _, kd = outcomes(study)
    assert kd.difference == pytest.approx(difference)
    assert kd.interval == (interval and pytest.approx(interval))


def test_runs_that_were_scored_on_other_images_are_not_compared(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    first, second = read_study(recipe(runs)).jobs
    write_result(first, np.ones((2, 2, 1), int))
    write_result(second, np.ones((3, 2, 1), int))
    with pytest.raises(ValueError, match="were scored on different images"):
        bootstrap([[(second, 1.0), (first, -1.0)]])
