"""A whole study: trained, scored, compared, and not done twice."""

import csv
import json
import re
import shutil
import sys

import pytest

from models.files import digest
from tests.train.study.examples import SMALL
from train import sweep
from train.study.comparison import outcomes
from train.study.jobs import COUNTS, SCORES, is_done, to_train
from train.study.recipe import read_study


def run_sweep(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["sweep.py", *map(str, words)])
    return sweep.main()


def test_a_study_trains_scores_and_compares_and_is_not_done_twice(
    recipe, tmp_path, monkeypatch, capfd
):
    runs = {"b1": {"stage": "teacher"}, "none": {"stage": "student"}, "kd": {}}
    path = recipe(runs, flags=SMALL, teacher="b1", baseline="none", score="val")
    output = tmp_path / "study.md"
    assert run_sweep(monkeypatch, path, "--output", output, "--parallel", 2) == 0
    text = output.read_text()
    header = "| run | seeds | steps | hours | teacher hours | mIoU | to none | 95 % interval |"
    assert header in text
    assert [line.split(" |")[0] for line in text.splitlines()[8:11]] == ["| b1", "| none", "| kd"]
    assert json.loads(output.with_suffix(".json").read_text())["baseline"] == "none"
    assert output.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    study = read_study(path)
    assert all(map(is_done, study.jobs)) and to_train(study, study.jobs) == []
    # The counts of the images are those of the whole score.
    job = study.runs["none"][0]
    with (job.folder / COUNTS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = json.loads((job.folder / SCORES).read_text())
    common, union = (sum(int(row[f"soil {what}"]) for row in rows) for what in ("common", "union"))
    assert len(rows) == scores["images"]
    assert common / union == pytest.approx(scores["per_class"]["soil"])
    capfd.readouterr()
    assert run_sweep(monkeypatch, path, "--parallel", 2) == 0
    assert "started" not in capfd.readouterr().out


def test_results_outlive_the_weights_and_a_teacher_without_weights_is_trained_again(
    recipe, tmp_path, monkeypatch, capfd
):
    runs = {"b0": {"stage": "teacher"}, "kd": {}}
    kept = tmp_path / "results"
    settings = {"flags": SMALL, "teacher": "b0", "score": "val", "results": str(kept)}
    path = recipe(runs, **settings)
    assert run_sweep(monkeypatch, path, "--only", "b0") == 0
    study = read_study(path)
    before = outcomes(study)
    assert sorted(file.name for file in (kept / "b0" / "seed0").iterdir()) == [
        "args.yaml", COUNTS, "log.csv", SCORES, "training.json"
    ]  # fmt: skip
    record = json.loads((kept / "b0" / "seed0" / "training.json").read_text())
    assert record["processes"] == 1 and record["fields_sha256"] is None
    assert record["start_sha256"] is record["teacher_sha256"] is None
    shutil.rmtree(tmp_path / "runs")
    assert outcomes(study) == before and before[0].hours > 0
    assert to_train(study, study.runs["b0"]) == []
    assert [job.run for job in to_train(study, study.runs["kd"])] == ["b0", "kd"]
    # Weights that were saved before their training was interrupted teach nobody yet.
    teacher = study.runs["b0"][0].folder
    teacher.mkdir(parents=True)
    (teacher / "last.pth").touch()
    assert [job.run for job in to_train(study, study.runs["kd"])] == ["b0", "kd"]
    shutil.rmtree(tmp_path / "runs")
    capfd.readouterr()
    assert run_sweep(monkeypatch, path, "--plan") == 0
    first, *plan = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"2 of 2 runs are left, time left: [\d:]+", first)
    missing = "it has scores but no weights here, and others learn from it"
    assert plan == [f"b0, seed 0: 0 of 2 steps; {missing}", "kd, seed 0: 0 of 2 steps"]
    assert run_sweep(monkeypatch, path) == 0
    started = [line for line in capfd.readouterr().out.splitlines() if "started" in line]
    assert started == ["started: b0, seed 0", "started: kd, seed 0"]
    record = json.loads((kept / "kd" / "seed0" / "training.json").read_text())
    assert record["teacher_sha256"] == [digest(teacher / "last.pth")]


def test_what_needs_a_failed_run_is_left_out_and_the_rest_goes_on(
    recipe, tmp_path, monkeypatch, capfd
):
    runs = {"b1": {"stage": "teacher", "datadir": "nowhere", "dataset": "VOC"}, "kd": {}}
    path = recipe(runs, flags=SMALL, teacher="b1")
    assert run_sweep(monkeypatch, path) == 1
    lines = capfd.readouterr().out
    assert "failed with status 2: b1, seed 0: train_teacher.py: error: " in lines
    assert "left out: kd, seed 0: no weights of its teacher b1, seed 0\n" in lines


@pytest.mark.parametrize("name", ["study.json", "study.png"])
def test_the_table_is_not_overwritten_by_what_is_written_beside_it(
    name, recipe, tmp_path, monkeypatch
):
    path = recipe({"none": {"stage": "student"}})
    with pytest.raises(ValueError, match=f"--output .*{name}: names the Markdown file"):
        run_sweep(monkeypatch, path, "--output", tmp_path / name, "--plan")


def test_only_runs_what_is_named_and_its_teacher(recipe):
    runs = {"b1": {"stage": "teacher"}, "none": {"stage": "student"}, "kd": {}, "at": {}}
    study = read_study(recipe(runs, teacher="b1"))
    assert [job.run for job in sweep.chosen(study, ["at"])] == ["b1", "at"]
    with pytest.raises(ValueError, match="--only att: no run of .*; runs: b1, none, kd, at"):
        sweep.chosen(study, ["att"])


def test_only_runs_the_teachers_of_a_teacher_too(recipe):
    runs = {
        "b1": {"stage": "teacher"},
        "kd": {"teacher": "b1"},
        "cwd": {"teacher": "kd"},
        "at": {"teacher": "b1"},
    }
    study = read_study(recipe(runs))
    assert [job.run for job in sweep.chosen(study, ["cwd"])] == ["b1", "kd", "cwd"]
