"""A run is trained again from its record."""

import json
import shutil
from pathlib import Path

import pytest
from accelerate import Accelerator
from rich.console import Console

from models.files import digest, digest_start
from tests import scripts
from tests.scripts import ROOT
from tests.train.conftest import TINY_RUN
from train.arguments import parse_options
from train.checkpoint import Progress
from train.provenance import record_sources
from train.reproduce import compare, read_results
from train.run import Run


def test_the_record_of_a_run(run_stage, runs):
    assert run_stage("student", "--test-split", "val", "--run-name", "a") == 0
    assert run_stage("student", "--test-split", "val", "--run-name", "b", "--seed", "1") == 0
    one, other = (json.loads((runs / name / "results.json").read_text()) for name in "ab")
    assert {"best_miou", "last_miou", "test_miou"} == set(one["scores"])
    assert one["command"].startswith("python train_student.py --dataset VOC")
    assert (one["flags"]["run_name"], one["seed"], other["seed"]) == ("a", 0, 1)
    assert one["data_sha256"] == other["data_sha256"]
    assert one["weights_sha256"] != other["weights_sha256"]
    assert one["fields_sha256"] is one["start_sha256"] is one["teacher_sha256"] is None
    assert "torch" in one["versions"] and "CPU" in one["hardware"]
    assert len(one["git"]["commit"]) == 40 if one["git"] else True
    with Console(record=True) as console:
        assert compare(one, one, console) == 0
        assert compare(one, other, console) == 1
    assert "weights: differ" in console.export_text()


@pytest.mark.parametrize("flag", ["--initial-checkpoint", "--pretrained"])
def test_the_file_that_training_began_with_is_recorded(flag, run_stage, runs, interrupt_after):
    """Its name may be another file's when the run is resumed."""
    assert run_stage("student", "--max-steps", "1", "--run-name", "start") == 0
    start = runs / "start" / "best.pth"
    began_with = digest(start)
    interrupt_after(2)
    flags = ("--num-epochs", "2", "--run-name", "a", flag, start)
    assert run_stage("student", *flags) == 130
    start.write_bytes(b"another file")
    assert run_stage("student", *flags, "--resume") == 0
    record = json.loads((runs / "a" / "results.json").read_text())
    assert record["start_sha256"] == began_with
    assert record["fields_sha256"] is None and record["teacher_sha256"] is None


@pytest.mark.parametrize("model", ["SegformerB0", "SegformerB2"])
def test_which_fields_weights_training_began_with_is_recorded(model):
    words = ["--pretrained", "fields", "--model", model]
    run = Run(parse_options("student", words), Accelerator(cpu=True), Path())
    progress = Progress()
    record_sources(run, progress)
    assert progress.fields == progress.start == digest_start(model)


def test_what_a_run_was_made_with_is_told_where_it_differs():
    one = {"scores": {}, "seed": 0, "versions": {"python": "3.11", "torch": "2.6.0"}, "git": None}
    other = {**one, "seed": 3, "versions": {"python": "3.11", "torch": "2.15.0"}}
    with Console(record=True) as console:
        compare(one, other, console)
    told = console.export_text().splitlines()
    assert told[:2] == ["seed differs: 0, now 3", "versions torch differs: 2.6.0, now 2.15.0"]
    assert "python" not in "".join(told)


def test_another_teacher_is_told_where_the_record_knows_it():
    one = {"scores": {}, "teacher_sha256": ["0a", "1b"], "start_sha256": "2c"}
    other = {**one, "teacher_sha256": ["0a", "3d"]}
    for recorded, told in (
        (one, ["teacher_sha256 differs: ['0a', '1b'], now ['0a', '3d']"]),
        ({"scores": {}}, []),
        (other, []),
    ):
        with Console(record=True) as console:
            compare(recorded, other, console)
        assert console.export_text().splitlines()[:-1] == told


def test_a_record_of_another_version_names_it(tmp_path, capsys):
    flags = {"stage": "student", "colour": "red"}
    record = {"scores": {}, "flags": flags, "git": {"commit": "0a1b", "dirty": False}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"results.json: unknown flag 'colour'.*: commit 0a1b"):
        read_results(path)
    path.write_text(json.dumps(record | {"flags": {"stage": "student", "height": [1, 2]}}))
    with pytest.raises(SystemExit):
        read_results(path)
    assert "--height: expected a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[]", '{"scores": {}, "flags": {"stage": "../evil"}}'])
def test_what_is_no_record_is_refused(text, tmp_path):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results.json"):
        read_results(tmp_path / "results.json")


@pytest.mark.slow
def test_a_run_is_reproduced_to_the_last_bit(voc, tmp_path):
    data = shutil.copytree(voc, tmp_path / "data")
    words = [*TINY_RUN, "--datadir", str(data), "--run-name", "first", "--max-steps", "2"]
    scripts.execute(ROOT / "train" / "train_student.py", words, tmp_path)
    script = ROOT / "train" / "reproduce.py"
    printed = scripts.execute(script, ["runs/first/results.json"], tmp_path)
    assert "weights: equal to the last bit" in printed
    moved = data.rename(tmp_path / "moved")
    flags = ("--datadir", moved, "--savedir", "other")
    printed = scripts.execute(script, ["runs/first", *flags], tmp_path)
    assert "weights: equal to the last bit" in printed
    again = scripts.start(script, ["runs/first"], tmp_path)
    assert again.wait() == 2
    assert "runs/first-again exists: remove it, or name another folder" in again.printed
