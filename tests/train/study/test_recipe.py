"""A recipe: its runs, their flags, and the mistakes in it."""

import pytest

from train import sweep
from train.study.recipe import read_study
from train.study.study import Job


def flag(job: Job, name: str) -> str:
    return next(word for word in job.words if word.startswith(f"{name}=")).split("=")[1]


def test_a_grid_makes_a_run_of_each_combination(recipe):
    runs = {"none": {"stage": "student", "grid": {"lr": [0.1, 0.2], "max-steps": [5, 10]}}}
    study = read_study(recipe(runs, seeds=[3, 4]))
    assert list(study.runs) == [
        "none lr=0.1,max-steps=5",
        "none lr=0.1,max-steps=10",
        "none lr=0.2,max-steps=5",
        "none lr=0.2,max-steps=10",
    ]
    last = study.jobs[-1]
    assert (flag(last, "--lr"), last.steps, last.seed, last.stage) == ("0.2", 10, 4, "student")


def test_flags_of_a_run_win_over_those_of_all_and_a_name_may_be_a_method(recipe):
    runs = {
        "t": {"stage": "teacher", "seeds": [7]},
        "kd+at": {"lr": 0.5},
        "alone": {"method": "cwd"},
    }
    study = read_study(recipe(runs, flags={"lr": 0.1}, teacher="t", seeds=[0]))
    teacher, joined, alone = study.jobs
    assert (flag(teacher, "--lr"), flag(joined, "--lr")) == ("0.1", "0.5")
    assert (flag(joined, "--method"), flag(alone, "--method")) == ("kd+at", "cwd")
    assert flag(joined, "--teacher") == str(teacher.folder / "last.pth")
    assert teacher.teachers == () and joined.teachers == (teacher.folder,)


@pytest.mark.parametrize(
    ("runs", "settings", "message"),
    [
        ({"kdd": {}}, {}, "run 'kdd' needs 'stage"),
        ({"kd": {"lrr": 1}}, {}, "run 'kd': .*lrr"),
        ({"kd": {"method": "kd+mgdd"}}, {}, "run 'kd' needs 'stage|mgdd is unknown"),
        ({"kd": {}}, {"baseline": "none"}, "baseline none is no run; runs: kd"),
        ({"kd": {"baseline": "none"}}, {}, "baseline none is no run; runs: kd"),
        ({"kd": {}}, {"sedes": [1]}, "unknown setting 'sedes'"),
        ({"../kd": {}}, {}, "a folder cannot have this name"),
        ({"kd": {}}, {"seeds": 3}, "study.yaml: seeds 3: expected a list of different whole numb"),
        ({"kd": {"seeds": [0, 0]}}, {}, "run 'kd': seeds \\[0, 0\\]: expected a list of different"),
        ({"kd": {"grid": {"lr": 0.1}}}, {}, "run 'kd': grid {'lr': 0.1}: expected lists of val"),
        ({"kd": {"grid": {"lr": "3e-4"}}}, {}, "run 'kd': grid .*: expected lists of values"),
        ({"kd": {"grid": ["lr"]}}, {}, "run 'kd': grid .*: expected lists of values by flag"),
        ({"kd": {"method": 3}}, {}, "run 'kd': method 3: expected a name"),
        ({"kd": {"baseline": ["a"]}}, {}, "run 'kd': baseline \\['a'\\]: expected a name"),
        ({"kd": {}}, {"flags": ["a"]}, "study.yaml: flags \\['a'\\]: expected flags and their"),
        ({"kd": {}}, {"savedir": None}, "study.yaml: savedir None: expected a name"),
        ({"kd": {}}, {"results": None}, "study.yaml: results None: expected a name"),
        ({"kd": 5}, {}, "study.yaml: runs {'kd': 5}: expected runs and their flags"),
        ({"kd": {"teacher": 5}}, {}, "run 'kd': teacher 5: expected a name, or a list of"),
        ({"kd": {"teacher": []}}, {}, "run 'kd': teacher \\[\\]: expected"),
        ({"kd": {"teacher": ["a.pth", "a.pth"]}}, {}, "a list of different ones"),
        ({"kd": {"teacher": {"a": 1}}}, {}, "expected a name"),
        ({"kd": {"teacher": "nonee"}}, {}, "teacher nonee is neither a file nor a run; runs: kd"),
        (
            {"feature": {"teacher": ["a.pth", "b.pth"]}},
            {},
            "run 'feature': --method feature compares",
        ),
        (
            {"b": {"stage": "student", "grid": {"lr": [1, 2]}}, "kd": {"teacher": "b"}},
            {},
            "teacher b is neither a file nor a run; runs: b lr=1, b lr=2",
        ),
        (["kd"], {}, "a study needs"),
    ],
)
def test_a_mistake_in_a_recipe_is_found_before_the_first_run(recipe, runs, settings, message):
    with pytest.raises((ValueError, SystemExit), match=message):
        read_study(recipe(runs, **settings))


def test_a_list_of_teachers_is_all_seeds_of_its_runs(recipe):
    runs = {
        "b1": {"stage": "teacher", "seeds": [7]},
        "none": {"stage": "student"},
        "kd": {"teacher": ["other.pth", "b1", "none"], "seeds": [0]},
        "at": {"seeds": [1]},
    }
    study = read_study(recipe(runs, teacher="none", seeds=[0, 1]))
    kd, at = study.runs["kd"][0], study.runs["at"][0]
    teachers = [*study.runs["b1"], *study.runs["none"]]
    start = kd.words.index("--teacher") + 1
    files = [str(job.folder / "last.pth") for job in teachers]
    assert kd.words[start : start + 4] == ("other.pth", *files)
    assert at.teachers == (study.runs["none"][0].folder,)
    assert sweep.chosen(study, ["kd"]) == [*teachers, kd]
    assert sweep.chosen(study, ["at"]) == [study.runs["none"][0], at]
