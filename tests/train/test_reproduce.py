"""A run is trained again from its record."""

import json

import pytest
from rich.console import Console

from tests import scripts
from tests.scripts import ROOT
from tests.train.conftest import TINY_RUN
from train.reproduce import compare, read_results


def test_the_record_of_a_run(run_stage, runs):
    assert run_stage("student", "--test-split", "val", "--run-name", "a") == 0
    assert run_stage("student", "--test-split", "val", "--run-name", "b", "--seed", "1") == 0
    one, other = (json.loads((runs / name / "results.json").read_text()) for name in "ab")
    assert {"best_miou", "last_miou", "test_miou"} == set(one["scores"])
    assert one["command"].startswith("python train_student.py --dataset VOC")
    assert (one["flags"]["run_name"], one["seed"], other["seed"]) == ("a", 0, 1)
    assert one["data_sha256"] == other["data_sha256"]
    assert one["weights_sha256"] != other["weights_sha256"]
    assert "torch" in one["versions"] and "CPU" in one["hardware"]
    assert len(one["git"]["commit"]) == 40 if one["git"] else True
    with Console(record=True) as console:
        assert compare(one, one, console) == 0
        assert compare(one, other, console) == 1
    assert "weights: differ" in console.export_text()


@pytest.mark.parametrize("text", ["{}", "[]", '{"scores": {}, "flags": {"stage": "../evil"}}'])
def test_what_is_no_record_is_refused(text, tmp_path):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results.json"):
        read_results(tmp_path / "results.json")


@pytest.mark.slow
def test_a_run_is_reproduced_to_the_last_bit(voc, tmp_path):
    words = [*TINY_RUN, "--datadir", str(voc), "--run-name", "first", "--max-steps", "2"]
    scripts.execute(ROOT / "train" / "train_student.py", words, tmp_path)
    script = ROOT / "train" / "reproduce.py"
    printed = scripts.execute(script, ["runs/first/results.json"], tmp_path)
    assert "weights: equal to the last bit" in printed
