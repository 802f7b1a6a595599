"""What training does, seen from outside: each flag leaves its mark on losses and weights.

A fault in the loop, such as a gradient that is not clipped, must turn one of these red.
"""

import csv

import pytest
import torch

from models import build_model, shipped
from tests.train.conftest import TINY

ONE_STEP = ("--max-steps", "1", "--warmup-steps", "0", "--steps-loss", "1")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def train_once(run_stage, runs, load):
    """`train_once(name, *flags)`: train a student for one step; what last.pth holds."""

    def train(name, *flags):
        assert run_stage("student", *ONE_STEP, *flags, "--run-name", name) == 0
        return load(runs / name / "last.pth")

    return train


@pytest.fixture
def first_loss(train_once, runs):
    """`first_loss(*flags)`: the loss of a student's first step."""

    def loss(*flags):
        train_once("first", *flags, "--overwrite")
        return float(log_of(runs / "first")[0]["loss"])

    return loss


def log_of(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def first_gradient(checkpoint) -> torch.Tensor:
    """AdamW's first moment after one step is a tenth of the gradient."""
    state = checkpoint["training"]["optimizer"]["state"]
    return torch.cat([10 * entry["exp_avg"].flatten() for entry in state.values()])


def test_the_gradient_is_clipped_to_its_norm(train_once):
    free, clipped = train_once("free"), train_once("clipped", "--clip-grad", "0.01")
    assert first_gradient(free).norm() > 0.1
    assert first_gradient(clipped).norm() == pytest.approx(0.01, rel=1e-3)


def test_matrices_decay_and_vectors_do_not(train_once):
    flags = ("--lr", "1e-2", "--weight-decay")
    kept, decayed = (train_once(f"by-{d}", *flags, d)["model"] for d in (0, 5))
    for key, weights in kept.items():
        if weights.is_floating_point():
            moved = not torch.equal(weights, decayed[key])
            assert moved == (weights.ndim > 1), key


def test_the_head_learns_faster(train_once):
    """AdamW's first step moves every weight by the learning rate, whatever its gradient."""
    flags = ("--lr", "1e-3", "--weight-decay", "0", "--head-lr")
    even, fast = (train_once(f"by-{f}", *flags, f)["model"] for f in (1, 10))
    moved = {k: (fast[k] - even[k]).abs().max() for k in even if not k.endswith(STATISTICS)}
    assert moved["head.linear_pred.weight"] == pytest.approx(9e-3, rel=0.1)
    assert all(change == 0 for key, change in moved.items() if not key.startswith("head."))


def test_head_lr_is_refused_out_of_range(run_stage, capsys):
    assert run_stage("student", "--head-lr", "0") == 2
    assert "--head-lr: must be greater than 0" in capsys.readouterr().err


def test_the_best_epoch_is_the_one_of_highest_miou(run_stage, runs, load):
    assert run_stage("student", "--num-epochs", "6", "--lr", "3e-2", "--run-name", "r") == 0
    scores = [float(row["miou"]) for row in log_of(runs / "r")]
    assert max(scores) > min(scores) + 1e-3
    best = load(runs / "r" / "best.pth")["metrics"]
    assert best["miou"] == pytest.approx(max(scores), abs=1e-6)
    assert best["epoch"] == 1 + scores.index(max(scores))
    last = load(runs / "r" / "last.pth")["model"]
    same = all(torch.equal(last[k], w) for k, w in load(runs / "r" / "best.pth")["model"].items())
    assert same == (best["epoch"] == len(scores))


def test_class_weights_weigh(first_loss):
    plain = first_loss()
    assert first_loss("--class-weights", "2,2,2") == pytest.approx(plain, rel=1e-5)
    single = [first_loss("--class-weights", w) for w in ("1,0,0", "0,1,0", "0,0,1")]
    assert min(single) < plain < max(single)
    assert len(set(single)) == 3


@pytest.mark.parametrize(
    "flags",
    [["--no-photometric"], ["--rotate", "90"], ["--scale", "1", "1"], ["--no-flip"]],
    ids=lambda flags: flags[0],
)
def test_augmentation_changes_what_is_seen(flags, first_loss):
    losses = {first_loss("--seed", seed) - first_loss("--seed", seed, *flags) for seed in (0, 1, 2)}
    assert any(abs(difference) > 1e-6 for difference in losses)


def test_pretrained_weights_are_where_training_begins(train_once, tmp_path):
    torch.manual_seed(7)
    encoder = build_model("SegformerB0", 3, **TINY).encoder.state_dict()
    torch.save(encoder, tmp_path / "encoder.pth")
    flags = ("--lr", "1e-12", "--pretrained", tmp_path / "encoder.pth")
    trained = train_once("pretrained", *flags)["model"]
    for key, weights in encoder.items():
        torch.testing.assert_close(trained[f"encoder.{key}"], weights, atol=1e-6, rtol=0)


def test_the_shipped_weights_are_a_start_head_and_all(train_once, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    torch.manual_seed(7)
    network = build_model("SegformerB0", 3, **TINY)
    info = {"classes": ["soil", "crop", "weed"]}
    shipped.save_shipped(tmp_path / "fields_b0.safetensors", network, info)
    trained = train_once("shipped", "--lr", "1e-12", "--pretrained", "fields")["model"]
    for key, weights in network.named_parameters():
        torch.testing.assert_close(trained[key], weights.half().float(), atol=1e-6, rtol=0)


def test_a_checkpoint_of_ones_own_is_a_start_head_and_all(train_once, load, runs):
    first = train_once("first", "--lr", "1e-2")["model"]
    flags = ("--lr", "1e-12", "--initial-checkpoint", runs / "first")
    second = train_once("second", *flags)
    for key, weights in first.items():
        if weights.is_floating_point() and "running" not in key:  # BatchNorm sees images anew
            torch.testing.assert_close(second["model"][key], weights, atol=1e-6, rtol=0)
    assert (
        second["training"]["progress"]["step"]
        == load(runs / "first" / "last.pth")["training"]["progress"]["step"]
    )  # a run of its own: it begins at 0


def test_the_rate_decays_linearly_after_its_warm_up(run_stage, runs):
    flags = ("--max-steps", "6", "--warmup-steps", "2", "--lr", "1", "--num-epochs", "9")
    assert run_stage("student", *flags, "--limit-train", "2", "--run-name", "r") == 0
    rates = [float(row["lr"]) for row in log_of(runs / "r")]
    assert rates == pytest.approx([2 / 3, 1, 0.75, 0.5, 0.25, 0])
