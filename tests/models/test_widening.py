"""A widened network computes what the narrow one does, and its copies are trained apart."""

import pytest
import torch

from models import build_model, load_checkpoint, save_checkpoint, weights
from models.widening import widen

TINY = {"embed_dims": (8, 16, 24, 32), "head_width": 8, "depths": (1, 2, 1, 1), "head_dim": 16}
WIDE = {"embed_dims": (24, 48, 72, 96), "head_width": 24, "head_dim": 32}


def trained(name: str, **overrides):
    """A network whose norms and running statistics are no longer those of a fresh one."""
    model = build_model(name, num_classes=3, **TINY | overrides)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return model.eval()


@pytest.mark.parametrize("name", ["SegformerB0", "PVTv2B0"])
def test_the_logits_stay_though_all_widths_grow(name):
    narrow, wide = trained(name), trained(name, **WIDE)
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        before = narrow(images)
        widen(narrow, wide)
        torch.testing.assert_close(wide(images), before, rtol=1e-4, atol=1e-5)
        assert torch.equal(narrow(images), before)


def test_copies_of_a_channel_get_other_gradients():
    narrow, wide = trained("SegformerB0"), trained("SegformerB0", **WIDE)
    widen(narrow, wide)
    wide(torch.rand(1, 3, 64, 64)).square().sum().backward()
    projection = wide.get_parameter("encoder.patch_embed1.proj.weight")
    copies, slopes = projection.unflatten(0, (-1, 3)), projection.grad.unflatten(0, (-1, 3))
    assert torch.equal(copies[:, 0], copies[:, 1])
    difference = (slopes[:, 0] - slopes[:, 1]).norm() / slopes.norm()
    assert difference > 0.1


def test_the_seed_says_which_shares():
    narrow = trained("SegformerB0")
    states = []
    for seed in (1, 1, 2):
        wide = trained("SegformerB0", **WIDE)
        widen(narrow, wide, seed)
        states.append(wide.get_parameter("encoder.block1.0.mlp.fc2.weight").detach())
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    "other",
    [
        {"depths": (1, 1, 1, 1)},
        {"head_width": 4},
        {"head_dim": 24},
        {"embed_dims": (8, 16, 24, 24)},
    ],
)
def test_what_is_no_multiple_is_left_as_it_was(other):
    narrow, wide = trained("SegformerB0"), trained("SegformerB0", **other)
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    with pytest.raises(ValueError, match="SegformerB0 is no wider SegformerB0: it takes one with"):
        widen(narrow, wide)
    assert all(torch.equal(value, before[key]) for key, value in wide.state_dict().items())


def test_the_command_writes_a_network_that_knows_its_classes(tmp_path, monkeypatch, capsys):
    narrow = build_model("SegformerB0", num_classes=3).eval()
    info = {
        "classes": ["soil", "crop", "weed"],
        "args": {"model": "SegformerB0", "lr": 0.1},
        "training_cost": {"params": 7, "flops": 7, "height": 32, "width": 32},
    }
    save_checkpoint(tmp_path / "b0.pth", narrow, info)
    words = ["widen", str(tmp_path / "b0.pth"), str(tmp_path / "b1.pth"), "--model", "segformerb1"]
    monkeypatch.setattr("sys.argv", ["weights.py", *words])
    weights.main()
    assert "SegformerB0 -> SegformerB1, with the same logits" in capsys.readouterr().out
    wide, info = load_checkpoint(tmp_path / "b1.pth")
    assert (wide.name, info["classes"]) == ("SegformerB1", ["soil", "crop", "weed"])
    assert (info["args"], info["training_cost"]) == ({"model": "SegformerB1", "lr": 0.1}, None)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(wide(images), narrow(images), rtol=1e-4, atol=1e-5)


def test_the_command_refuses_a_network_that_is_not_wider(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "b0.pth", build_model("SegformerB0", num_classes=3), {})
    words = ["widen", str(tmp_path / "b0.pth"), str(tmp_path / "b2.pth"), "--model", "SegformerB2"]
    monkeypatch.setattr("sys.argv", ["weights.py", *words])
    with pytest.raises(ValueError, match="SegformerB2 is no wider SegformerB0"):
        weights.main()
    assert not (tmp_path / "b2.pth").exists()
