"""The command eval.py, in process; once by path from inside its folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from command_line.cli import run
from conventions.preprocessing import UNNORMALISED, Preprocessing
from datasets import build_dataset
from datasets.transforms import EvalTransform, PaperTransform, normalize
from eval import eval as command
from eval.complexity import count_parameters
from eval.metrics import SegmentationMetrics
from models import build_model
from models.segformer import to_published

ROOT = Path(__file__).parents[2]
BASE = ["--cpu", "--num-workers", "0"]


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    """Run the command and return what it wrote to --json."""

    def call(*arguments):
        target = tmp_path / "out" / "result.json"
        words = ["eval.py", *map(str, arguments), *BASE, "--json", str(target)]
        monkeypatch.setattr(sys, "argv", words)
        command.main()
        return json.loads(target.read_text())

    return call


@pytest.fixture
def refuse(monkeypatch, capsys):
    """Run the command, which must stop with status 2 and one line; return the line."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["eval.py", *map(str, arguments), *BASE])
        with pytest.raises(SystemExit) as end:
            run(command.main)
        line = capsys.readouterr().err
        assert end.value.code == 2
        assert line.startswith("eval.py: error: ") and line.count("\n") == 1, line
        return line

    return call


@torch.inference_mode()
def plain_miou(model, root, transform, preprocessing=Preprocessing()):  # noqa: B008
    dataset = build_dataset("VOC", root, "val", transform=transform, classes="soil,crop,weed")
    metrics = SegmentationMetrics(3)
    for sample in dataset:
        logits = model(normalize(sample["image"][None], preprocessing))
        size = sample["label"].shape
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        metrics.update(logits.argmax(1)[0], sample["label"])
    return metrics.compute()["miou"]


def test_a_checkpoint_needs_no_other_flag_than_the_data(evaluate, write_checkpoint, voc_root):
    state, model = write_checkpoint()
    result = evaluate("--state", state, "--datadir", voc_root)
    expected = plain_miou(model, voc_root, EvalTransform(64))
    assert result["miou"] == pytest.approx(expected, abs=1e-3)
    assert list(result["per_class"]) == ["soil", "crop", "weed"]
    assert result["params"] == {"deployed": count_parameters(model), "training": None}
    assert result["flops"]["deployed"] > 0 and result["flops"]["size"] == [64, 64]
    assert (result["protocol"], result["subset"], result["images"]) == ("standard", "val", 4)
    assert {"pixel_accuracy", "mean_accuracy", "fwiou", "versions", "model"} <= result.keys()


def test_batches_of_mixed_sizes_give_the_same(evaluate, write_checkpoint, voc_root):
    arguments = ["--state", write_checkpoint()[0], "--datadir", voc_root]
    single, batched = evaluate(*arguments), evaluate(*arguments, "--batch-size", "3")
    assert batched["miou"] == pytest.approx(single["miou"], abs=1e-3)


def test_the_data_is_found_where_it_was_trained(evaluate, write_checkpoint, voc_root):
    state, _ = write_checkpoint(args={"stage": "teacher", "datadir": str(voc_root)})
    assert evaluate("--state", state)["images"] == 4


def test_protocol_paper(evaluate, write_checkpoint, voc_root, capsys):
    state, model = write_checkpoint()
    arguments = ["--protocol", "paper", "--image-size", "64x96"]
    result = evaluate("--state", state, "--datadir", voc_root, *arguments)
    transform = PaperTransform(64, 96, train=False, outputs=3)
    expected = plain_miou(model, voc_root, transform)
    assert result["miou"] == pytest.approx(expected, abs=1e-3)
    assert result["protocol"] == "paper" and result["image_size"] == [64, 96]
    assert "published numbers only" in capsys.readouterr().err.replace("\n", " ")


def test_cost_with_adapters(evaluate, write_checkpoint, voc_root):
    adapters = {"a.weight": torch.zeros(7, 3), "a.running_mean": torch.zeros(5)}
    state, model = write_checkpoint(extra={"adapters": adapters}, method="sekd-ct")
    result = evaluate("--state", state, "--datadir", voc_root)
    assert result["params"]["training"] == count_parameters(model) + 21
    assert result["flops"]["training"] is None
    cost = {"params": 9999, "flops": 1234, "height": 256, "width": 320}
    state, _ = write_checkpoint(extra={"training_cost": cost}, method="sekd-ct")
    result = evaluate("--state", state, "--datadir", voc_root, "--distillation-type", "sekd")
    assert result["params"]["training"] == 9999
    assert result["flops"]["training"] == 1234
    assert result["flops"]["training_size"] == [256, 320]


def test_acdc_by_condition_and_officially(evaluate, write_checkpoint, acdc_root):
    state, _ = write_checkpoint(num_classes=19)
    result = evaluate("--state", state, "--dataset", "acdc", "--datadir", acdc_root, "--official")
    assert list(result["conditions"]) == ["fog", "night", "rain", "snow"]
    assert result["official"]["miou"] == pytest.approx(result["miou"], abs=1e-12)
    for name, iou in result["per_class"].items():
        assert result["official"]["per_class"][name] == pytest.approx(iou, abs=1e-12)
    assert result["conditions"]["fog"]["miou"] != result["conditions"]["night"]["miou"]


def test_windows_views_outlines_and_folders(evaluate, write_checkpoint, acdc_root, capsys):
    state, _ = write_checkpoint(num_classes=19, dataset="ACDC")
    arguments = ["--state", state, "--datadir", acdc_root, "--image-size", "native"]
    plain = evaluate(*arguments)
    assert plain["inference"] == "whole" and not {"boundary", "folders"} & plain.keys()
    whole = evaluate(*arguments, "--inference", "slide", "--window", "64", "--boundary", "0.4")
    assert whole["inference"] == "slide 64x64, overlap 0.25"  # a window that holds every image
    assert whole["miou"] == plain["miou"]
    # Half of the diagonal reaches every pixel of every mask: Boundary IoU is IoU.
    assert whole["boundary"]["per_class"] == pytest.approx(plain["per_class"])
    assert "boundary" in capsys.readouterr().out
    more = evaluate(*arguments, "--inference", "slide", "--window", "32", "--tta", "--per-folder")
    assert more["miou"] != plain["miou"]
    assert list(more["folders"]) == [f"{name}/val/GP" for name in ("fog", "night", "rain", "snow")]
    assert more["folders"]["fog/val/GP"] == more["conditions"]["fog"]
    assert "snow/val/GP" in capsys.readouterr().out


def test_what_does_not_fit_is_refused(refuse, write_checkpoint, voc_root, tmp_path):
    state, _ = write_checkpoint()
    data = ["--datadir", voc_root]
    assert "no such file" in refuse("--state", tmp_path / "gone.pth", *data)
    assert "--datadir" in refuse("--state", state)
    assert "--dataset" in refuse("--state", state, "--dataset", "CWFID", "--classes", "a,b", *data)
    assert "unknown data set" in refuse("--state", state, "--dataset", "moon", *data)
    assert "no such split" in refuse("--state", state, "--subset", "nope", *data)
    assert "3 classes" in refuse("--state", state, "--num-classes", "5", *data)
    assert "SegformerB0" in refuse("--state", state, "--model", "SegformerB2", *data)
    assert "trained on the classes" in refuse(
        "--state", state, "--classes", "soil,weed,crop", *data
    )
    assert "holds a student" in refuse("--state", state, "--distillation-type", "sekd", *data)
    assert "Cityscapes and ACDC" in refuse("--state", state, "--official", *data)
    assert "is a folder" in refuse("--state", state, "--json", tmp_path, *data)
    line = refuse("--state", state, "--json", state / "result.json", *data)
    assert "--json" in line and "cannot be written" in line
    assert "--device" in refuse("--state", state, *data, "--device", "cuda")
    assert "--batch-size" in refuse("--state", state, *data, "--batch-size", "0")
    assert "--image-size" in refuse("--state", state, *data, "--image-size", "tiny")
    assert "--inference slide" in refuse("--state", state, *data, "--window", "64")
    assert "--boundary" in refuse("--state", state, *data, "--boundary", "2")


def test_a_network_of_another_class_count_is_refused(refuse, write_checkpoint, voc_root):
    state, _ = write_checkpoint(num_classes=5, dataset=None)
    line = refuse("--state", state, "--datadir", voc_root, "--classes", "soil,crop,weed")
    assert "5 classes" in line and "VOC has 3" in line and "--classes" in line


def test_nothing_is_written_after_an_error(refuse, write_checkpoint, voc_root, tmp_path):
    state, _ = write_checkpoint()
    damaged = voc_root / "JPEGImages" / "field2.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    target = tmp_path / "result.json"
    assert "field2.png" in refuse("--state", state, "--datadir", voc_root, "--json", target)
    assert not target.exists()


def test_a_bare_published_file(evaluate, voc_root, tmp_path):
    """The published command line, its file without any description."""
    torch.manual_seed(0)
    model = build_model("SegformerB0", 3).eval()
    torch.save(to_published(dict(model.state_dict())), tmp_path / "bare.pth")
    published = ["--subset", "val", "--distillation-type", "sekd", "--batch-size", "1"]
    arguments = ["--datadir", voc_root, "--classes", "soil,crop,weed", *published]
    result = evaluate("--state", tmp_path / "bare.pth", *arguments)
    expected = plain_miou(model, voc_root, EvalTransform(None), UNNORMALISED)
    assert result["miou"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_by_path_from_inside_its_folder(write_checkpoint, voc_root):
    state, _ = write_checkpoint()
    arguments = ["--state", state, "--datadir", voc_root, *BASE]
    ended = subprocess.run(
        [sys.executable, "eval.py", *map(str, arguments)],
        cwd=ROOT / "eval",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert "mIoU" in ended.stdout and "weed" in ended.stdout


def test_classes_merged(evaluate, refuse, write_checkpoint, voc_root, capsys):
    state, model = write_checkpoint()
    flags = ["--state", state, "--datadir", voc_root, "--merge"]
    result = evaluate(*flags, "vegetation=Crop, weed")
    common = union = 0
    dataset = build_dataset(
        "VOC", voc_root, "val", transform=EvalTransform(64), classes="soil,crop,weed"
    )
    for sample in dataset:
        label = sample["label"]
        with torch.inference_mode():
            logits = model(normalize(sample["image"][None], Preprocessing()))
        logits = F.interpolate(logits, size=label.shape, mode="bilinear", align_corners=False)
        plant, known = logits.argmax(1)[0] > 0, label != 255
        common += (plant & (label > 0) & known).sum().item()
        union += ((plant | (label > 0)) & known).sum().item()
    assert result["merged"]["vegetation"] == pytest.approx(common / union, abs=1e-3)
    assert list(result["per_class"]) == ["soil", "crop", "weed"]
    assert "vegetation (merged)" in capsys.readouterr().out
    assert "merged" not in evaluate(*flags[:-1])
    assert "vegetation=crop,weed" in refuse(*flags, "vegetation")
    assert "vegetation=crop,weed" in refuse(*flags, "vegetation=crop,crop,weed")
    assert "unknown class 'beet'; soil, crop, weed" in refuse(*flags, "vegetation=beet,weed")
    assert "there is a class weed already" in refuse(*flags, "weed=crop,weed")


def test_plants_beside_pixels(evaluate, refuse, write_checkpoint, voc_root, capsys):
    state = write_checkpoint()[0]
    result = evaluate("--state", state, "--datadir", voc_root, "--plants", "8")
    assert result["plants"]["size"] == 8
    assert result["plants"]["weeds"] > 0 and result["plants"]["crops"] > 0
    assert "tool of 8 px" in capsys.readouterr().out
    other, _ = write_checkpoint("b.pth", classes=["soil", "crop", "stone"])
    flags = ["--state", other, "--datadir", voc_root, "--plants"]
    assert "--plants: it takes a class with 'weed'" in refuse(*flags)
