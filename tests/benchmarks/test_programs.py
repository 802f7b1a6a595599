"""Every program of the benchmark measures what it says, here at sizes that take no time."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = ["--device", "cpu", "--rounds", "1"]
SHAPE = ["--size", "64", "--batch", "1"]
STEP = [*SHAPE, "--teacher", "SegformerB1", "--methods"]


@pytest.fixture
def measure(monkeypatch, capsys):
    """Run a program in this process; return its records by contender."""

    def call(program, *flags):
        monkeypatch.setattr(sys, "argv", [program, *SMALL, *flags])
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(BENCHMARKS / program), run_name="__main__")
        assert not ended.value.code
        lines = capsys.readouterr().out.splitlines()
        return {record["contender"]: record for record in map(json.loads, lines)}

    return call


@pytest.mark.parametrize("program", ["inference.py", "training_step.py"])
def test_networks_beside_those_of_the_libraries(program, measure):
    pytest.importorskip("transformers")
    pytest.importorskip("segmentation_models_pytorch")
    records = measure(program, *SHAPE)
    assert set(records) == {"this project", "transformers", "segmentation_models_pytorch"}
    assert {r["case"] for r in records.values()} == {"SegformerB0, 1 x 64 x 64"}
    assert all(r["seconds"] > 0 for r in records.values())


def test_networks_that_differ_are_not_compared(measure, monkeypatch):
    pytest.importorskip("transformers")
    import torch

    from benchmarks import rivals

    networks = {"this project": torch.nn.Conv2d(3, 2, 1), "other": torch.nn.Conv2d(3, 2, 1)}
    with pytest.raises(ValueError, match="other computes other logits"):
        rivals._check_equal(networks, torch.rand(1, 3, 8, 8))


def test_methods_beside_their_floor(measure):
    records = measure("distillation_step.py", *STEP, "sekd-ct", "kd")
    assert set(records) == {"floor", "sekd-ct", "kd"}
    memory = measure("distillation_step.py", *STEP, "kd", "--memory")["kd"]
    assert memory["peak_bytes"] > 2**20 and "seconds" not in memory
    assert memory["case"] == records["kd"]["case"]


def test_texture_term_beside_its_definition(measure):
    records = measure("texture_term.py", *SHAPE)
    assert set(records) == {"this project", "unfolded"}
    assert "peak_bytes" in measure("texture_term.py", *SHAPE, "--memory-of", "unfolded")["unfolded"]


def test_metric_beside_torchmetrics(measure):
    pytest.importorskip("torchmetrics")
    assert "torchmetrics" in measure("metric_update.py", "--image", "64", "96")


def test_loading_from_files_and_from_memory(measure):
    flags = ["--workers", "0", "--image", "64", "96", "--images", "4", "--crop", "32"]
    records = measure("data_loading.py", *flags)
    assert set(records) == {"JPG files", "PNG files", "PNG files, --cache ram"}
    assert all(r["images_per_second"] > 0 for r in records.values())


def test_runtimes_of_the_exported_network(measure):
    assert len(measure("runtimes.py", "--size", "64")) == 3
