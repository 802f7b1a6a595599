"""Intervals over seeds and images."""

import numpy as np
import pytest

from tests.train.study.examples import write_result
from train.study import bootstrap as module
from train.study.bootstrap import bootstrap
from train.study.comparison import outcomes
from train.study.recipe import read_study

DIFFERENCE = np.array([1.0, -1.0])


def test_images_that_are_void_all_over_do_not_spoil_the_interval(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    study = read_study(recipe(runs, baseline="none", seeds=[0, 1]))
    scored = np.array([[[300], [1000]], [[500], [1000]]])
    for job, gain in zip(study.jobs, (0, 10, 40, 60), strict=True):
        counts = scored + [[[gain], [0]]]
        write_result(job, np.concatenate((counts, np.zeros((2, 2, 1), int))))
    pairs = list(zip(study.runs["kd"], study.runs["none"], strict=True))
    with_void = bootstrap(pairs, DIFFERENCE)
    for job, gain in zip(study.jobs, (0, 10, 40, 60), strict=True):
        write_result(job, scored + [[[gain], [0]]])
    assert with_void == bootstrap(pairs, DIFFERENCE)
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
        # Student's t-intervals: the quantile of 1 or 2 degrees of freedom times the standard error
        ([80, 120], 10, (10 - 12.71 * 2, 10 + 12.71 * 2)),
        ([80, 100, 120], 10, (10 - 4.303 * 2 / 3**0.5, 10 + 4.303 * 2 / 3**0.5)),
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
    assert kd.interval == (interval and pytest.approx(interval, rel=0.02))


def test_runs_that_were_scored_on_other_images_are_not_compared(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    first, second = read_study(recipe(runs)).jobs
    write_result(first, np.ones((2, 2, 1), int))
    write_result(second, np.ones((3, 2, 1), int))
    with pytest.raises(ValueError, match="were scored on different images"):
        bootstrap([(second, first)], DIFFERENCE)


def counts_of(seeds, images, seed_sd, image_sd, draws, block=1):
    """Counts of two equally good runs, (seeds, 2, images, 2, 1): noise of seeds and of images."""
    seed_noise = draws.normal(0, seed_sd / 2**0.5, (seeds, 2, 1))
    image_noise = draws.normal(0, image_sd / 2**0.5, (1, 2, -(-images // block)))
    levels = 5000 + 100 * (seed_noise + image_noise.repeat(block, -1)[..., :images])
    return np.stack([levels, np.full_like(levels, 10000)], axis=-1)[..., None].round()


@pytest.mark.parametrize(
    ("seeds", "seed_sd", "image_sd", "block"),
    [(2, 1.0, 0.0, 1), (3, 1.0, 0.0, 1), (3, 0.65, 2.6, 1), (3, 0.1, 4.0, 3)],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    monkeypatch, seeds, seed_sd, image_sd, block
):
    """Also where neighbouring images share their noise, as frames of a video do."""
    draws = np.random.default_rng(1)
    monkeypatch.setattr(module, "RESAMPLES", 200)
    covered = 0
    for _ in range(200):
        counts = counts_of(seeds, 216, seed_sd, image_sd, draws, block)
        monkeypatch.setattr(module, "_counts", lambda groups, counts=counts: counts)
        _, (low, high) = bootstrap([()] * seeds, DIFFERENCE)
        covered += low <= 0 <= high
    assert covered >= 0.87 * 200  # 0.95, less the chance of 200 draws and of short series


def test_a_rare_class_that_a_draw_misses_counts_for_both_runs_or_for_neither(monkeypatch):
    """21 images, a class in one of them; the runs differ in a single pixel of it elsewhere."""
    union = np.full((2, 2, 21, 2), 1000.0)
    union[..., 1] = 0
    union[:, :, 0, 1] = 100
    common = union * 0.8
    union[:, 0, 1, 1] = 1  # predicted by the first run where it is not
    counts = np.stack([common, union], axis=3)
    monkeypatch.setattr(module, "_counts", lambda groups: counts)
    measured, (low, high) = bootstrap([()] * 2, DIFFERENCE)
    assert -0.5 < measured < 0 and -2 < low <= measured <= high <= 0


def test_a_class_that_one_run_invents_is_an_error_in_every_draw(monkeypatch):
    union = np.full((2, 2, 9, 2), 1000.0)
    union[:, 1, :, 1] = 0
    counts = np.stack([union * [0.8, 0], union], axis=3)
    monkeypatch.setattr(module, "_counts", lambda groups: counts)
    measured, interval = bootstrap([()] * 2, DIFFERENCE)
    assert measured == pytest.approx(-40) and interval == pytest.approx((-40, -40))


def test_uncertain_weights_widen_the_interval(monkeypatch):
    counts = np.stack([np.full((2, 2, 4, 1), 600), np.full((2, 2, 4, 1), 1000)], axis=3)
    monkeypatch.setattr(module, "_counts", lambda groups: counts)
    drawn = np.array([[1, -part] for part in np.linspace(0.9, 1.1, module.RESAMPLES)])
    measured, interval = bootstrap([()] * 2, DIFFERENCE, drawn)
    assert measured == pytest.approx(0)
    assert interval == pytest.approx((-6 * 0.95, 6 * 0.95), abs=0.02)
