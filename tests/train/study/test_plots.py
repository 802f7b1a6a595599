"""Pictures of a study."""

import numpy as np
import pytest
from matplotlib import pyplot

from tests.train.study.examples import write_result
from train.study.comparison import outcomes
from train.study.plots import plot
from train.study.recipe import read_study


@pytest.mark.parametrize(
    ("grids", "axis"),
    [
        ([{"lr": [1e-3, 1e-4]}, {}], "lr"),
        ([{"lr": [1e-3, 1e-4]}, {"lr": [1e-2]}], "lr"),
        ([{"lr": [1e-3, 1e-4], "limit-train": [5]}], None),
        ([{"lr": [1e-3, 1e-4]}, {"limit-train": [5, 10]}], None),
        ([{"lr": [1e-3]}], None),
        ([{"loss": ["ce", "ce+jaccard"]}], None),
        ([{"sync-bn": [False, True]}], None),
        ([{}], None),
    ],
)
def test_a_plot_is_over_the_one_number_in_which_runs_differ(recipe, grids, axis):
    runs = {f"run {n}": {"stage": "student", "grid": grid} for n, grid in enumerate(grids)}
    assert read_study(recipe(runs)).axis == axis


def test_the_plot_of_a_grid_has_a_line_per_family(recipe, tmp_path, monkeypatch):
    grid = {"limit-train": [10, 5]}
    runs = {
        "none": {"stage": "student", "grid": grid},
        "kd": {"teacher": "t.pth", "grid": grid},
        "all": {"stage": "student"},
    }
    study = read_study(recipe(runs))
    for job, common in zip(study.jobs, (400, 300, 500, 350, 600), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    beginning = [one for one in outcomes(study) if one.run == "all"]
    plot(study, beginning, tmp_path / "plot.png")  # by cost: no run of a grid has ended
    assert pyplot.gcf().axes[0].get_xlabel() == "hours of training"
    plot(study, outcomes(study), tmp_path / "plot.png")
    (axes,) = pyplot.gcf().axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert lines["none"] == [[5, pytest.approx(30)], [10, pytest.approx(40)]]
    assert lines["kd"] == [[5, pytest.approx(35)], [10, pytest.approx(50)]]
    assert axes.get_xlabel() == "--limit-train" and "all" in [t.get_text() for t in axes.texts]
    pyplot.close("all")


def test_no_two_of_many_runs_have_one_colour(recipe, tmp_path, monkeypatch):
    study = read_study(
        recipe({f"run {n}": {"stage": "student", "max-steps": 60} for n in range(15)})
    )
    for n, job in enumerate(study.jobs):
        write_result(job, np.full((2, 2, 1), [[400 + n], [1000]]))
        (job.folder / "log.csv").write_text("step,images_per_second\n60,1\n")
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot(study, outcomes(study), tmp_path / "plot.png")
    axes = pyplot.gcf().axes[0]
    colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
    named = [colour for label, colour in colours.items() if label.startswith("run ")]
    assert len(set(map(str, named))) == len(named) == 15
    pyplot.close("all")


def test_runs_of_one_teacher_are_not_drawn_over_its_score(recipe, tmp_path, monkeypatch):
    """Of one seed and of three: a mean of equal scores may differ from them in its last digit."""
    runs = {
        "teacher": {"stage": "teacher", "seeds": [0]},
        "none": {"stage": "student"},
        "kd": {"teacher": "teacher"},
        "at": {"teacher": "teacher", "seeds": [0]},
    }
    study = read_study(recipe(runs, seeds=[0, 1, 2], baseline="none"))
    for n, job in enumerate(study.jobs):
        write_result(job, np.full((2, 2, 1), [[700 + n], [1560]]))
        (job.folder / "log.csv").write_text("step,images_per_second\n60,1\n")
    found = outcomes(study)
    assert len({one.teacher_score for one in found if one.run in ("kd", "at")}) == 1
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot(study, found, tmp_path / "plot.png")
    assert len(pyplot.gcf().axes) == 2
    pyplot.close("all")
