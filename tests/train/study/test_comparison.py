"""Outcomes of runs beside their baselines."""

import math

import numpy as np
import pytest
from matplotlib import pyplot

from tests.train.study.examples import write_result
from train.study.comparison import outcomes
from train.study.plots import plot
from train.study.recipe import read_study
from train.study.tables import as_json, table


def test_the_command_line_of_a_row_is_that_of_a_seed_that_was_trained(recipe):
    study = read_study(recipe({"none": {"stage": "student"}}, seeds=[0, 1, 2]))
    for job in study.jobs[1:]:
        write_result(job, np.full((3, 2, 1), 500))
    (row,) = as_json(study, outcomes(study), {})["runs"]
    assert row["seeds"] == (1, 2)
    assert row["flags"] == list(study.jobs[1].words) and "--seed=1" in row["flags"]


def test_a_run_may_be_compared_with_a_baseline_of_its_own(recipe):
    few, many = ({"stage": "student", "limit-train": number} for number in (5, 10))
    runs = {"none": few, "kd": {"teacher": "t.pth"}, "long": many,
            "kd-long": {"method": "kd", "teacher": "t.pth", "baseline": "long"}}  # fmt: skip
    study = read_study(recipe(runs, baseline="none"))
    for job, common in zip(study.jobs, (300, 400, 500, 550), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
    found = {one.run: one.difference for one in outcomes(study)}
    expected = {"none": None, "kd": pytest.approx(10), "long": pytest.approx(20)}
    assert found == {**expected, "kd-long": pytest.approx(5)}
    text = table(study, outcomes(study))
    assert "| none: +10.00 |" in text and "| long: +5.00 |" in text


def test_a_baseline_with_the_same_grid_is_compared_value_by_value(recipe):
    grid = {"limit-train": [5, 10]}
    runs = {
        "none": {"stage": "student", "grid": grid},
        "kd": {"teacher": "t.pth", "grid": grid, "baseline": "none"},
        "at": {"teacher": "t.pth", "baseline": "none limit-train=10"},
    }
    study = read_study(recipe(runs))
    assert study.axis == "limit-train"
    for job, common in zip(study.jobs, (300, 400, 350, 500, 400), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
    found = {one.run: one.difference for one in outcomes(study)}
    assert found["kd limit-train=5"] == pytest.approx(5)
    assert found["kd limit-train=10"] == pytest.approx(10)
    assert found["at"] == pytest.approx(0)


def test_a_run_is_compared_with_the_baseline_trained_as_long(recipe, tmp_path, monkeypatch):
    """Baseline: 30 % after 2 hours, 50 % after 8; half way on the logarithm, 4 hours, 40 %."""
    student = {"stage": "student", "max-steps": 7200}
    taught = {"method": "kd", "teacher": "t.pth", "max-steps": 7200}
    runs = {
        "none": student,
        "long": {**student, "max-steps": 28800},
        "other": {**student, "lr": 0.1, "max-steps": 28800},
        "b1": {**student, "stage": "teacher"},
        "kd": taught,
        "slow": {**taught, "method": "at"},
        "fast": {**taught, "method": "cwd"},
        "elsewhere": {**taught, "baseline": "other"},
        "by epochs": {"method": "dist", "teacher": "t.pth"},
    }
    study = read_study(recipe(runs, baseline="none", flags={"batch-size": 1}))
    measured = [
        (300, 1), (500, 1), (900, 1), (900, 1), (450, 0.5), (450, 0.1), (450, 2), (450, 0.5),
        (450, 0.5),
    ]  # fmt: skip
    for job, (common, pace) in zip(study.jobs, measured, strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    found = outcomes(study)
    gains = {one.run: one.at_equal_hours for one in found if one.at_equal_hours is not None}
    assert gains == {
        "other": pytest.approx(40),
        "b1": pytest.approx(60),
        "kd": pytest.approx(5),
    }
    assert math.isnan(found[-1].hours)
    assert table(study, found).count("| unknown |") == 1
    assert "| 95 % interval | at equal hours |" in table(study, found)
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot(study, found, tmp_path / "plot.png")
    cost, differences = pyplot.gcf().axes
    assert [[2, 30], [8, 50]] in [line.get_xydata().round(6).tolist() for line in cost.get_lines()]
    labels = [label.get_text() for label in differences.get_yticklabels()]
    assert labels[0] == "elsewhere - other" and labels[-1] in ("other - none", "b1 - none")
    pyplot.close("all")


def test_teachers_are_told_with_their_hours_and_scores(recipe, tmp_path, monkeypatch):
    runs = {
        "teacher": {"stage": "teacher", "seeds": [0]},
        "none": {"stage": "student"},
        "taught": {"method": "kd", "teacher": "teacher"},
        "alone": {"method": "kd", "teacher": "t.pth"},
        "mean": {"method": "kd", "teacher": ["none"]},
        "chain": {"method": "kd", "teacher": ["taught"]},
    }
    flags = {"batch-size": 1, "max-steps": 3600}
    study = read_study(recipe(runs, baseline="none", flags=flags, seeds=[0, 1]))
    hours = {"teacher": 4, "none": 1, "taught": 2, "alone": 2, "mean": 2, "chain": 2}
    for job in study.jobs:
        common = 600 if job.run == "teacher" else 500 + 10 * job.seed
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        (job.folder / "log.csv").write_text(f"step,images_per_second\n3600,{1 / hours[job.run]}\n")
    found = outcomes(study)
    of_teachers = {one.run: one.teacher_hours for one in found}
    # Both seeds of `taught` learnt from one teacher, which was trained once.
    assert of_teachers == pytest.approx(
        {"teacher": 0, "none": 0, "taught": 4, "alone": 0, "mean": 2, "chain": 8}
    )
    text = table(study, found)
    assert "| hours | teacher hours | mIoU |" in text
    assert "| taught | 2 | 3600 | 2.00 | 4.00 |" in text
    assert "| none | 2 | 3600 | 1.00 | - |" in text
    scores = {one.run: one.teacher_score for one in found if one.teacher_score is not None}
    assert scores == pytest.approx({"taught": 60, "mean": 50.5, "chain": 50.5})
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot(study, found, tmp_path / "plot.png")
    *_, by_teacher = pyplot.gcf().axes
    assert by_teacher.get_xlabel() == "mIoU of the teacher, %"
    places = {line.get_label(): line.get_xdata()[0] for line in by_teacher.get_lines()}
    assert scores.items() <= places.items()
    pyplot.close("all")


def test_equal_hours_are_over_the_seeds_that_all_share(recipe):
    """Seed 0: the baseline 30 and 50 %, kd 45 half way. Seeds that one alone has do not count.

    Nor does a length that is not beside the run's hours.
    """
    student = {"stage": "student", "max-steps": 7200}
    runs = {
        "none": {**student, "seeds": [0, 1]},
        "long": {**student, "max-steps": 28800, "seeds": [0]},
        "longest": {**student, "max-steps": 115200, "seeds": [1]},
        "kd": {"teacher": "t.pth", "max-steps": 7200, "seeds": [0, 2]},
        "at": {"teacher": "t.pth", "max-steps": 7200, "seeds": [2]},
    }
    study = read_study(recipe(runs, baseline="none", flags={"batch-size": 1}))
    for job, common in zip(study.jobs, (300, 900, 500, 990, 450, 900, 900), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        pace = 1 if job.stage == "student" else 0.5
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    *_, kd, at = outcomes(study)
    assert kd.at_equal_hours == pytest.approx(5) and at.at_equal_hours is None
    assert kd.at_equal_hours_interval is None  # of one seed


def test_the_interval_at_equal_hours_is_that_of_a_baseline_between_two_lengths(recipe):
    """All images are alike, so the interval is over the two seeds: gains of 5 and 15 points."""
    student = {"stage": "student"}
    runs = {
        "none": {**student, "max-steps": 7200},
        "long": {**student, "max-steps": 28800},
        "kd": {"teacher": "t.pth", "max-steps": 7200},
    }
    settings = {"baseline": "none", "flags": {"batch-size": 1}, "seeds": [0, 1]}
    study = read_study(recipe(runs, **settings))
    for job, common in zip(study.jobs, (300, 300, 500, 500, 450, 550), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        pace = 1 if job.stage == "student" else 0.5  # kd lasts as long as half way, on a log scale
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    *_, kd = found = outcomes(study)
    assert kd.at_equal_hours == pytest.approx(10)
    low, high = kd.at_equal_hours_interval
    # Student's t with one degree of freedom, times the standard error of the two seeds.
    assert (low, high) == pytest.approx((10 - 12.71 * 5, 10 + 12.71 * 5), rel=0.02)
    assert f"| +10.00 ({low:+.2f} to {high:+.2f}) |" in table(study, found)
    described = as_json(study, found, {})["runs"][-1]
    assert described["at_equal_hours_interval"] == (low, high)


def test_hours_that_differ_between_seeds_widen_the_interval_at_equal_hours(recipe):
    """All seeds score alike; what is uncertain is how long the run took."""
    student = {"stage": "student"}
    runs = {
        "none": {**student, "max-steps": 7200},
        "long": {**student, "max-steps": 28800},
        "kd": {"teacher": "t.pth", "max-steps": 7200},
    }
    settings = {"baseline": "none", "flags": {"batch-size": 1}, "seeds": [0, 1, 2]}
    study = read_study(recipe(runs, **settings))
    paces = {"none": (1, 1, 1), "long": (1, 1, 1), "kd": (0.5, 0.25, 1)}  # 4, 8 and 2 hours
    commons = {"none": 300, "long": 500, "kd": 450}
    for job in study.jobs:
        write_result(job, np.full((2, 2, 1), [[commons[job.run]], [1000]]))
        pace = paces[job.run][job.seed]
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    *_, kd = outcomes(study)
    assert kd.at_equal_hours == pytest.approx(5)
    assert kd.at_equal_hours_interval == pytest.approx((-5, 15))
