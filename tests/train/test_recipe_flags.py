"""Flags of a training recipe, seen from outside: weights, losses and messages."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conventions.preprocessing import Preprocessing
from datasets.cityscapes import Cityscapes
from eval import eval as eval_command
from models import build_model
from tests.train.conftest import TINY
from train.optimizer import build_optimizer
from train.segmentation_loss import SegmentationLoss
from train.stage import synchronized
from train.tasks import SupervisedTask

CONSTANT = ("--warmup-steps", "0", "--power", "1e-9", "--lr", "1e-2", "--num-epochs", "9")
PREPROCESSING = Preprocessing((0.5,) * 3, (0.2,) * 3)


@pytest.fixture
def train(run_stage, runs, load):
    """`train(name, steps, *flags)`: train a student at a constant rate; what last.pth holds."""

    def run(name, steps, *flags):
        words = (*CONSTANT, "--max-steps", steps, "--run-name", name, *flags)
        assert run_stage("student", *words) == 0
        return load(runs / name / "last.pth")

    return run


def test_ema_saves_the_average_as_the_network(train, runs, load):
    one, two = (train(f"{steps}", steps)["model"] for steps in (1, 2))
    averaged = train("ema", 2, "--ema", "0.9")
    share = 1 - 2 ** (-2 / 3)  # of the average in its second step: it warms up
    for key, weights in averaged["model"].items():
        if weights.is_floating_point():
            expected = share * one[key] + (1 - share) * two[key]
            torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(averaged["training"]["student"][key], two[key]) for key in two)
    best = load(runs / "ema" / "best.pth")
    assert torch.equal(
        best["model"]["head.linear_pred.weight"], averaged["model"]["head.linear_pred.weight"]
    )


def test_ema_is_what_is_validated(train, runs, monkeypatch):
    saved = train("ema", 6, "--lr", "3e-2", "--ema", "0.99")
    output = runs / "scores.json"
    words = ["--state", str(runs / "ema" / "last.pth"), "--num-workers", "0", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["eval.py", *words, "--json", str(output)])
    eval_command.main()  # scores the network of the file, which is the average
    assert json.loads(output.read_text())["miou"] == pytest.approx(saved["metrics"]["miou"])


def test_a_run_goes_on_with_or_without_ema_as_it_began(train, run_stage, capsys):
    train("ema", 2, "--ema", "0.9")
    train("plain", 2)
    assert run_stage("student", "--run-name", "plain", "--resume", "--ema", "0.9") == 2
    assert "was trained without --ema: resume it likewise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ema", "1"], "--ema: must be less than 1, not 1"),
        (["--ema", "-0.5"], "--ema: must be greater than 0"),
        (["--layer-decay", "1.5"], "--layer-decay: must be at most 1, not 1.5"),
        (["--cutmix", "2"], "--cutmix: must be at most 1, not 2"),
        (["--copy-paste", "-1"], "--copy-paste: must be at least 0"),
        (["--loss", "dice"], "--loss: invalid choice: 'dice'"),
    ],
)
def test_out_of_range_is_one_line(flags, message, run_stage, capsys):
    assert run_stage("student", *flags) == 2
    assert message in capsys.readouterr().err


def test_kd_warmup_below_zero_is_one_line(run_stage, capsys):
    assert run_stage("sekd", "--kd-warmup", "-1") == 2
    assert "--kd-warmup: must be at least 0, not -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--kd-steps", "0"], "--kd-steps: must be greater than 0, not 0"),
        (["--kd-steps", "5", "--unlabelled", "rest"], "--kd-steps ends what photographs without"),
        (["--kd-steps", "5", "--kd-warmup", "5"], "--kd-warmup 5: terms reach their full weight"),
    ],
)
def test_kd_steps_that_cannot_be_are_one_line(flags, message, run_stage, capsys):
    assert run_stage("sekd", *flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--unlabelled", "rest"], "--kd-cache supports labelled images only"),
        (["--cutmix", "0.5"], "--cutmix combines parts of several"),
        (["--copy-paste", "1"], "--copy-paste combines parts of several"),
        (
            ["--protocol", "paper"],
            "--kd-cache does not support the augmentation of --protocol paper",
        ),
        (["--method", "kd+feature"], "--method kd+feature compares features, which in a view"),
        (["--no-kd-cache", "--teacher-image-size", "64"], "--teacher-image-size belongs to"),
    ],
)
def test_what_answers_about_whole_images_cannot_know_is_one_line(flags, message, run_stage, capsys):
    assert run_stage("sekd", "--kd-cache", "--method", "kd", *flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def losses_by_step(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "flags",
    [["--loss", name] for name in ("ce+jaccard", "ce+lovasz", "ohem")]
    + [["--cutmix", "1"], ["--copy-paste", "1"]],
    ids=lambda flags: "-".join(flags),
)
def test_a_loss_or_mixing_changes_the_first_loss(flags, train, runs):
    train("plain", 1)
    train("other", 1, *flags)
    plain, other = (float(losses_by_step(runs / name)[0]["loss"]) for name in ("plain", "other"))
    assert abs(plain - other) > 1e-4
    if flags[1].startswith("ce+"):
        assert plain < other < plain + 1.001  # the region's part is in [0, 1]


def test_kd_warmup_raises_the_weight_step_by_step(run_stage, runs):
    flags = (*CONSTANT[:-2], "--lr", "1e-12", "--max-steps", "3", "--limit-train", "2")
    assert run_stage("teacher", "--max-steps", "1") == 0
    distilled = (*flags, "--num-epochs", "9", "--method", "kd", "--teacher-val", "false")
    for name, steps in (("plain", 0), ("warm", 3)):
        assert run_stage("sekd", *distilled, "--kd-warmup", steps, "--run-name", name) == 0
    plain, warm = (
        [float(row["kd"]) for row in losses_by_step(runs / n)] for n in ("plain", "warm")
    )
    shares = [w / p for w, p in zip(warm, plain, strict=True)]
    assert shares == pytest.approx([1 / 4, 2 / 4, 3 / 4], rel=1e-3)


@pytest.mark.parametrize("name", ["SegformerB0", "PVTv2B0"])
def test_layer_decay_slows_the_first_blocks(name):
    options = {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1), "head_dim": 16}
    network = build_model(name, 3, **options)
    task = SupervisedTask(network, SegmentationLoss(), PREPROCESSING)
    optimizer = build_optimizer(task, 1.0, 0.01, head_lr=10, layer_decay=0.5)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    blocks = network.encoder.blocks()
    assert sum(map(len, blocks)) == len(list(network.encoder.parameters()))
    for depth, block in enumerate(blocks):
        assert {rates[p] for p in block} == {0.5 ** (len(blocks) - 1 - depth)}
    assert {rates[p] for p in network.head.parameters()} == {10}
    first = next(iter(network.encoder.parameters()))
    assert rates[first] == 0.5**4


class Processes:
    """Stand-in for an accelerator of several processes."""

    def __init__(self, count, device):
        self.num_processes, self.device = count, torch.device(device)


def test_sync_bn_needs_processes_and_gpus():
    task = SupervisedTask(build_model("SegformerB0", 3, **TINY), SegmentationLoss(), PREPROCESSING)
    keys = list(task.state_dict())
    assert synchronized(task, Processes(1, "cpu")) is task
    with pytest.raises(ValueError, match="--sync-bn needs GPUs, not cpu"):
        synchronized(task, Processes(2, "cpu"))
    task = synchronized(task, Processes(2, "cuda"))
    norms = [m for m in task.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert list(task.state_dict()) == keys


def test_several_teachers_distil_and_are_recorded(run_stage, runs, load, tmp_path, capsys):
    for seed in (0, 1):
        assert (
            run_stage("teacher", "--max-steps", "1", "--seed", seed, "--run-name", f"t{seed}") == 0
        )
    teachers = [str(runs / f"t{seed}" / "last.pth") for seed in (0, 1)]
    flags = ("--max-steps", "2", "--teacher", *teachers, "--run-name", "both")
    assert run_stage("sekd", *flags, "--method", "kd") == 0
    assert capsys.readouterr().out.count("teacher's mIoU") == 2
    assert load(runs / "both" / "last.pth")["args"]["teacher"] == teachers
    assert run_stage("sekd", "--run-name", "both", "--resume", "--max-steps", "3") == 0
    assert run_stage("sekd", "--teacher", *teachers, "--method", "sekd") == 2
    assert "--method sekd compares features, which several teachers" in capsys.readouterr().err


def test_teachers_that_disagree_in_classes_are_refused(run_stage, runs, capsys):
    assert run_stage("teacher", "--max-steps", "1", "--run-name", "one") == 0
    other = ("--classes", "soil,weed,crop", "--run-name", "other")
    assert run_stage("teacher", "--max-steps", "1", *other) == 0
    teachers = [str(runs / name / "last.pth") for name in ("one", "other")]
    assert run_stage("sekd", "--teacher", *teachers, "--method", "kd") == 2
    error = capsys.readouterr().err
    assert "has the classes soil, weed, crop" in error and error.count("\n") == 1


def test_the_paper_protocol_trains_an_output_for_void(run_stage, runs, load, tmp_path):
    """On Cityscapes and ACDC it is the 20th, and weighs nothing."""
    street = tmp_path / "street"
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            label = random.integers(0, 19, (32, 64), dtype=np.uint8)
            label[:8] = 255
            for folder, ending, values in (
                ("leftImg8bit", "leftImg8bit", random.integers(0, 256, (32, 64, 3), np.uint8)),
                ("gtFine", "gtFine_labelTrainIds", label),
            ):
                path = street / folder / split / "a" / f"a_{number:06d}_000000_{ending}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(path)
    flags = ("--dataset", "Cityscapes", "--protocol", "paper", "--max-steps", "2")
    names = ",".join(Cityscapes.classes)
    assert run_stage("student", *flags, "--classes", names, data=street) == 0
    folder = runs / "student-SegformerB0-Cityscapes"
    saved = load(folder / "last.pth")
    assert saved["model"]["head.linear_pred.weight"].shape[0] == 20
    assert saved["classes"] == [*Cityscapes.classes, "void"]
    assert saved["palette"] == [*map(list, Cityscapes.palette), [0, 0, 0]]
    assert not saved["training"]["optimizer"]["state"][0]["exp_avg"].isnan().any()
    columns = losses_by_step(folder)[0]
    assert "iou_bicycle" in columns and "iou_void" not in columns
    flags = ("--resume", "--dataset", "Cityscapes", "--protocol", "paper", "--max-steps", "3")
    assert run_stage("student", *flags, "--classes", names, data=street) == 0
