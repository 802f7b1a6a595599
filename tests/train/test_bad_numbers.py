"""Gradients that are not finite, images that cannot be read, and where both are told."""

import csv
import shutil

import pytest
import torch

from losses.embedding_patch import TexturePatchLoss
from train.segmentation_loss import SegmentationLoss

NAME = "student-SegformerB0-VOC"


class Broken(torch.autograd.Function):
    """The same value, and from the given call on a gradient that is infinite."""

    calls = 0

    @staticmethod
    def forward(ctx, value):
        Broken.calls += 1
        ctx.breaks = Broken.calls >= 5
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf") if ctx.breaks else gradient


@pytest.fixture
def break_gradient(monkeypatch):
    """`break_gradient(loss)`: the gradient of a loss is infinite from its fifth call on."""

    def act(kind):
        Broken.calls, plain = 0, kind.forward
        monkeypatch.setattr(kind, "forward", lambda *a, **b: Broken.apply(plain(*a, **b)))

    return act


def log_of(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_gradient_that_is_not_finite_is_named_and_never_applied(
    run_stage, runs, load, capsys, break_gradient
):
    assert run_stage("teacher", "--num-epochs", "1") == 0
    break_gradient(TexturePatchLoss)
    assert run_stage("sekd", "--num-epochs", "3") == 2
    *progress, told = capsys.readouterr().err.strip().splitlines()  # a slow run shows its progress
    assert "step 5: the gradient of loss term 'texture' is not finite" in told
    assert all(line.startswith("train: ") for line in progress)
    last = load(runs / "sekd-SegformerB0-VOC-sekd-ct" / "last.pth")
    assert last["training"]["progress"]["step"] == 3


def test_a_student_has_one_term_to_blame(run_stage, capsys, break_gradient):
    break_gradient(SegmentationLoss)
    assert run_stage("student", "--clip-grad", "1") == 2
    assert "step 5: the gradient of loss term 'loss'" in capsys.readouterr().err


def test_detect_anomaly_names_the_operation(run_stage, capsys, monkeypatch):
    plain = SegmentationLoss.forward
    monkeypatch.setattr(
        SegmentationLoss, "forward", lambda *a, **b: plain(*a, **b) + (a[1] * 0).sqrt().sum()
    )
    with pytest.warns(UserWarning, match="Error detected in MulBackward"):
        assert run_stage("student", "--detect-anomaly") == 2
    assert "step 1: Function 'MulBackward0' returned nan values" in capsys.readouterr().err
    assert not torch.is_anomaly_enabled()


def test_steps_that_fp16_leaves_out_are_counted(
    use_scaler, break_gradient, run_stage, runs, capsys
):
    use_scaler()
    break_gradient(SegmentationLoss)
    assert run_stage("student") == 0
    assert [row["skipped_steps"] for row in log_of(runs / NAME)] == ["0", "2"]
    assert "skipped steps 2" in capsys.readouterr().out


@pytest.fixture
def damaged(voc, tmp_path):
    """The data set with two training images of six damaged."""
    root = shutil.copytree(voc, tmp_path / "damaged")
    for name in ("field01", "field04"):
        path = root / "JPEGImages" / f"{name}.jpg"
        path.write_bytes(path.read_bytes()[:300])
    return root


def test_bad_images_are_skipped_and_counted(run_stage, runs, damaged, capsys):
    flags = ("--on-bad-sample", "skip", "--num-workers", "0")
    assert run_stage("student", *flags, data=damaged) == 0
    printed = capsys.readouterr()
    assert printed.err.count("note: left out, --on-bad-sample skip: ") == 2
    assert printed.out.count("replaced images 2") == 2  # in each of two epochs
    assert [row["replaced_images"] for row in log_of(runs / NAME)] == ["2", "2"]


def test_a_bad_label_is_left_out_of_the_class_weights(run_stage, runs, voc, tmp_path, capsys):
    data = shutil.copytree(voc, tmp_path / "damaged")
    label = data / "SegmentationClass" / "field01.png"
    label.write_bytes(label.read_bytes()[:60])
    flags = ("--class-weights", "auto", "--on-bad-sample")
    assert run_stage("student", *flags, "error", data=data) == 2
    capsys.readouterr()
    assert run_stage("student", *flags, "skip", data=data) == 0
    printed = capsys.readouterr()
    assert "class weights: " in printed.out
    assert printed.err.count("note: left out, --on-bad-sample skip: ") == 1  # told once
    assert [row["replaced_images"] for row in log_of(runs / NAME)] == ["1", "1"]


def test_bad_photographs_without_labels_are_skipped_and_counted(
    run_stage, runs, write_voc, tmp_path, capsys
):
    assert run_stage("teacher", "--num-epochs", "1") == 0
    photographs = write_voc(tmp_path / "more", train=3, val=1, seed=5) / "JPEGImages"
    bad = photographs / "field01.jpg"
    bad.write_bytes(bad.read_bytes()[:-100])  # its header is whole
    flags = ("--unlabelled", photographs, "--num-epochs", "1", "--on-bad-sample")
    assert run_stage("sekd", *flags, "error") == 2
    capsys.readouterr()
    assert run_stage("sekd", *flags, "skip") == 0
    assert f"note: left out, --on-bad-sample skip: {bad}" in capsys.readouterr().err
    (row,) = log_of(runs / "sekd-SegformerB0-VOC-sekd-ct")
    assert int(row["replaced_images"]) > 0


def test_a_resumed_epoch_counts_all_that_it_skipped(run_stage, runs, damaged, interrupt_after):
    flags = ("--on-bad-sample", "skip", "--num-epochs", "1", "--run-name", "r")
    interrupt_after(2)
    assert run_stage("student", *flags, data=damaged) == 130
    assert run_stage("student", *flags, "--resume", data=damaged) == 0
    assert [row["replaced_images"] for row in log_of(runs / "r")] == ["2"]


def test_nothing_but_bad_images_ends_the_run(run_stage, damaged, capsys):
    for path in (damaged / "JPEGImages").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    assert run_stage("student", "--on-bad-sample", "skip", data=damaged) == 2
    assert "error: " in capsys.readouterr().err


def test_bad_images_are_not_skipped_where_all_are_read_before(run_stage, capsys):
    assert run_stage("student", "--on-bad-sample", "skip", "--cache", "ram") == 2
    assert "leave out --on-bad-sample skip" in capsys.readouterr().err
