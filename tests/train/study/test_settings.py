"""A run is gone on with only where it was trained as the recipe says."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from models.files import digest_start
from models.shipped import find_shipped
from tests.train.study.examples import write_result
from train import sweep
from train.study import settings as study_settings
from train.study.jobs import SCORES, TRAINING
from train.study.recipe import read_study
from train.study.settings import check_settings, note_emulated_precision, note_other_starts


def test_scores_of_other_settings_than_the_recipe_s_are_refused(recipe, tmp_path):
    (tmp_path / "shared.yaml").write_text("{lr: 0.1, num-workers: 1}")
    runs = {"none": {"stage": "student", "max-steps": 100, "pretrained": "fields"}}
    settings = {"config": str(tmp_path / "shared.yaml"), "results": str(tmp_path / "kept")}
    study = read_study(recipe(runs, score="val", **settings))
    (job,) = study.jobs
    assert job.settings["max_steps"] == 100 and job.settings["lr"] == 0.1
    check_settings(study)  # nothing has ended
    job.results.mkdir(parents=True)
    (job.results / SCORES).write_text('{"subset": "val"}')
    check_settings(study)  # a record from before settings were kept
    trained = {**job.settings, "datadir": "/elsewhere", "num_workers": 8, "savedir": "other"}
    trained |= {"test_split": "test", "val_every": 7}
    (job.results / "args.yaml").write_text(yaml.safe_dump(trained))
    check_settings(study)
    for changed, message in (
        ({"max-steps": 200}, "args.yaml: trained with max-steps 100, and .*study.yaml says 200"),
        (
            {"lr": 0.2},
            f"lr 0.1, and .* says 0.2: give the run another name, or remove {job.results}",
        ),
        ({"pretrained": False}, "trained with pretrained fields, and .* says none"),
        ({"ema": 0.9}, "trained with ema none, and .* says 0.9"),
    ):
        other = {"none": {**runs["none"], **changed}}
        with pytest.raises(ValueError, match=message):
            check_settings(read_study(recipe(other, score="val", **settings)))
        # Another process may have trained it since that check.
        with pytest.raises(ValueError, match=message):
            sweep.write_tables(read_study(tmp_path / "study.yaml"), tmp_path / "table.md")
        assert not (tmp_path / "table.md").exists()
    with pytest.raises(ValueError, match="scores.json: scored on val, and .*study.yaml says test"):
        check_settings(read_study(recipe(runs, score="test", **settings)))


def test_flags_that_do_not_matter_are_flags(recipe):
    (job,) = read_study(recipe({"kd": {"teacher": "t.pth"}})).jobs
    assert set(job.settings) > study_settings.OF_NO_WEIGHT


def record(job, folder, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.yaml").write_text(yaml.safe_dump({**job.settings, **changed}))


def test_a_flag_that_has_left_the_recipe_is_missed(recipe):
    runs = {"kd": {"teacher": "t.pth", "kd-weight": 0.5}}
    (job,) = read_study(recipe(runs)).jobs
    write_result(job, np.ones((2, 2, 1), int))
    record(job, job.results)
    check_settings(read_study(recipe({"kd": {"teacher": "t.pth", "kd-weight": 0.5, "port": 9}})))
    with pytest.raises(ValueError, match="trained with kd-weight 0.5, and .* says 1"):
        check_settings(read_study(recipe({"kd": {"teacher": "t.pth"}})))


def test_a_run_is_not_continued_with_other_settings(recipe):
    runs = {"kd": {"teacher": "t.pth", "kd-weight": 0.5}}
    (job,) = read_study(recipe(runs)).jobs
    record(job, job.folder)
    check_settings(read_study(recipe(runs)))
    runs["kd"]["kd-weight"] = 0.9
    with pytest.raises(ValueError, match=f"{job.folder}/args.yaml: trained with kd-weight 0.5"):
        check_settings(read_study(recipe(runs)))


def test_a_run_has_the_teacher_that_it_was_trained_with(recipe):
    runs = {"big": {"stage": "teacher"}, "small": {"stage": "teacher"}, "kd": {"teacher": "big"}}
    *_, job = read_study(recipe(runs)).jobs
    write_result(job, np.ones((2, 2, 1), int))
    for teacher in ("elsewhere/big/seed0/last.pth", ["elsewhere/big/seed0/last.pth"]):
        record(job, job.results, teacher=teacher)
        check_settings(read_study(recipe(runs)))
        with pytest.raises(ValueError, match="trained with teacher big/seed0/last.pth, .* small/"):
            check_settings(read_study(recipe({**runs, "kd": {"teacher": "small"}})))


def test_files_of_an_ensemble_may_move_and_its_runs_may_not_change(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": ["none", "weights/t.pth"]}}
    *_, job = read_study(recipe(runs)).jobs
    write_result(job, np.ones((2, 2, 1), int))
    record(job, job.results, teacher=["there/none/seed0/last.pth", "elsewhere/t.pth"])
    check_settings(read_study(recipe(runs)))
    record(job, job.results, teacher=["there/other/seed0/last.pth", "elsewhere/t.pth"])
    with pytest.raises(ValueError, match="trained with teacher other/seed0"):
        check_settings(read_study(recipe(runs)))


@pytest.mark.parametrize(
    ("flag", "before", "after"),
    [
        ("pretrained", "fields", "a.pth"),
        ("pretrained", "a.pth", "fields"),
        ("pretrained", False, "a.pth"),
        ("initial-checkpoint", "a.pth", "b.pth"),
        ("initial-checkpoint", "one/best.pth", "other/best.pth"),
        ("initial-checkpoint", "one/last.pth", "one/best.pth"),
        ("class-weights", "1,3,3", "a.txt"),
        ("teacher", "a.pth", "b.pth"),
        ("teacher", "one/best.pth", "other/best.pth"),
        ("teacher", "study/one/seed0/last.pth", "study/other/seed0/last.pth"),
        ("teacher", ["a.pth", "b.pth"], ["a.pth", "c.pth"]),
        ("teacher", "fields", "a.pth"),
        ("unlabelled", "rest", "photographs"),
    ],
)
def test_another_file_in_the_recipe_is_refused(flag, before, after, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in map(str, np.hstack([before, after])):
        if name.endswith((".pth", ".txt", "graphs")):  # the others are words
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
    taught = flag in ("teacher", "unlabelled")
    common = {"method": "kd", "teacher": "t.pth", "limit-train": 4} if taught else {}
    runs = [
        {"run": {"stage": "sekd" if taught else "student", **common, flag: value}}
        for value in (before, after)
    ]
    (job,) = read_study(recipe(runs[0])).jobs
    record(job, job.results)
    check_settings(read_study(recipe(runs[0])))
    with pytest.raises(ValueError, match=f"trained with {flag} .* says .*: give the run another"):
        check_settings(read_study(recipe(runs[1])))


@pytest.mark.parametrize(
    ("flag", "recorded", "named"),
    [
        ("pretrained", "/elsewhere/mit_b0.pth", "mit_b0.pth"),
        ("initial-checkpoint", "/elsewhere/start.pth", "weights/start.pth"),
        ("class-weights", "/elsewhere/rare.txt", "rare.txt"),
        ("teacher", "/elsewhere/t.pth", "t.pth"),
        ("teacher", "/elsewhere/big/best.pth", "runs/big"),
        ("teacher", str(find_shipped(None)), "fields"),
        ("teacher", "/hub/models--nvidia--mit-b5/snapshots/0a1b", "nvidia/mit-b5"),
    ],
)
def test_the_same_file_elsewhere_is_accepted(flag, recorded, named, recipe):
    stage = "sekd" if flag == "teacher" else "student"
    method = {"method": "kd"} if flag == "teacher" else {}
    study = read_study(recipe({"run": {"stage": stage, **method, flag: named}}))
    (job,) = study.jobs
    record(job, job.results, **{flag.replace("-", "_"): recorded})
    (job.results / SCORES).write_text("{}")
    check_settings(study)


def test_runs_that_began_with_older_weights_are_named(recipe, capsys):
    runs = {
        name: {"stage": "student", "pretrained": start}
        for name, start in (("old", "fields"), ("new", "fields"), ("unknown", "fields"))
    }
    study = read_study(recipe(runs))
    old, new, unknown = study.jobs
    digests = {old: "0" * 64, new: digest_start("SegformerB0"), unknown: None}
    for job, digest in digests.items():
        write_result(job, np.ones((2, 2, 1), int))
        (job.results / TRAINING).write_text(json.dumps({"fields_sha256": digest}))
    note_other_starts(study, [])
    assert not capsys.readouterr().err
    note_other_starts(study, [unknown])
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "than 'fields' names today: old; what is left" in error


def test_runs_in_bf16_are_named_where_it_is_emulated(recipe, capsys, monkeypatch):
    runs = {
        name: {"stage": "student", "amp": amp, "device": "cpu"}
        for name, amp in (("half", "bf16"), ("done", "bf16"), ("plain", "none"), ("any", "auto"))
    }
    study = read_study(recipe(runs))
    left = [job for job in study.jobs if job.run != "done"]
    monkeypatch.setattr(study_settings, "has_bf16", lambda device: True)
    note_emulated_precision(study, left)
    assert not capsys.readouterr().err
    monkeypatch.setattr(study_settings, "has_bf16", lambda device: False)
    note_emulated_precision(study, left)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("slower than float32: half\n")
