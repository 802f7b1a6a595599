"""Latency by image size, as `eval.py --latency` measures and prints it."""

import argparse
import json
import sys

import pytest
import torch
from rich.console import Console

from command_line.cli import run
from conventions.preprocessing import Preprocessing
from eval import eval as command
from eval.deployment import latency

RUNTIMES = ["PyTorch", "TorchScript", "ONNX Runtime float", "ONNX Runtime int8"]
NEITHER = Preprocessing()


@pytest.fixture(autouse=True)
def few_calls(monkeypatch):
    find = latency.importlib.util.find_spec
    without = lambda name, *more: None if name == "openvino" else find(name, *more)  # noqa: E731
    monkeypatch.setattr(latency.importlib.util, "find_spec", without)
    monkeypatch.setattr(latency, "FEWEST", 2)
    monkeypatch.setattr(latency, "SECONDS", 0)


@pytest.fixture
def arguments(write_checkpoint, voc_root):
    """A checkpoint and its data, which have a training split."""
    (voc_root / "ImageSets" / "Segmentation" / "train.txt").write_text("field1\nfield3\n")
    state, _ = write_checkpoint()
    return ["eval.py", "--state", str(state), "--datadir", str(voc_root), "--cpu",
            "--num-workers", "0"]  # fmt: skip


def test_a_row_for_each_size_and_runtime(arguments, monkeypatch, tmp_path, capsys):
    target = tmp_path / "result.json"
    words = [*arguments, "--json", str(target), "--latency", "64", "40x96"]
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    printed = capsys.readouterr().out
    assert "mIoU" in printed and "40 x 96" in printed
    assert all(printed.count(runtime) >= 2 for runtime in RUNTIMES)
    result = json.loads(target.read_text())
    assert result["images"] == 4 and 0 <= result["miou"] <= 1  # no less than without --latency
    found = result["latency"]
    assert found["batch"] == 1 and "onnxruntime" in found["machine"] and "1 threads" in printed
    rows = found["measured"]
    assert [(row["size"], row["runtime"]) for row in rows] == [
        (size, runtime) for size in ([64, 64], [40, 96]) for runtime in RUNTIMES
    ]
    for group in (rows[:4], rows[4:]):
        for row in group:
            assert row["milliseconds"] > 0 and row["calls"] == 2
            assert row["images_per_second"] == pytest.approx(1000 / row["milliseconds"])
            ratio = group[0]["milliseconds"] / row["milliseconds"]
            assert row["ratio"] == pytest.approx(ratio)
            assert row["frame_milliseconds"] > 0
        *exact, int8 = [row["labels_equal"] for row in group]
        assert min(exact) > 0.99 and 0.5 < int8 <= 1
    assert found["frame"] == [40, 40] and "40 x 40" in printed  # the first image file


@torch.inference_mode()
def test_contenders_are_the_same_network(arguments):
    args = command.build_parser().parse_args([*arguments[1:], "--latency"])
    subject = command.load_subject(args, torch.device("cpu"))
    contenders = latency.build_contenders(subject, torch.device("cpu"))
    assert [contender.runtime for contender in contenders] == RUNTIMES
    image = torch.randn(1, 3, 70, 45)
    expected = subject.model(image)
    *exact, int8 = [contender.network(image) for contender in contenders]
    for logits in exact:
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    difference = (int8 - expected).abs().mean()
    assert 0 < difference < 0.1 * expected.abs().mean()


def test_sizes(monkeypatch):
    assert latency.latency_size("64") == (64, 64)
    assert latency.latency_size("48x640") == (48, 640)
    for wrong in ("native", "16", "48x"):
        with pytest.raises(argparse.ArgumentTypeError):
            latency.latency_size(wrong)


def test_without_sizes_the_usual_ones(monkeypatch):
    monkeypatch.setattr(latency, "SIZES", ((32, 48), (64, 32)))
    monkeypatch.setattr(latency, "build_contenders", lambda *_: [
        latency.Contender("PyTorch", torch.device("cpu"), lambda image: image.sum(), NEITHER)
    ])  # fmt: skip
    monkeypatch.setattr(latency, "image_files", lambda _: [])
    measured = latency.measure_latency(None, torch.device("cpu"), [])["measured"]
    assert [row["size"] for row in measured] == [[32, 48], [64, 32]]


def test_other_devices_are_named_and_not_compared(capsys):
    contenders = [
        latency.Contender("PyTorch", torch.device("cpu"), lambda image: image, NEITHER),
        latency.Contender("elsewhere", torch.device("meta"), lambda image: image, NEITHER),
    ]
    rows = latency.time_contenders(contenders, (32, 32))
    assert [row["ratio"] for row in rows] == [1.0, None]
    record = {"batch": 1, "machine": {"CPU": "slow"}, "frame": None, "measured": rows}
    latency.print_latency(record, Console(width=100))
    assert "elsewhere (meta)" in capsys.readouterr().out


def test_without_images_to_calibrate_on(write_checkpoint, voc_root, monkeypatch, capsys):
    state, _ = write_checkpoint()
    words = ["eval.py", "--state", str(state), "--datadir", str(voc_root), "--latency", "64"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        run(command.main)
    line = capsys.readouterr().err
    assert end.value.code == 2 and line.count("\n") == 1
    assert line.startswith("eval.py: error: --latency: ") and "train" in line
