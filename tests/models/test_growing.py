"""A grown network computes what the small one does, and its copies are trained apart."""

import pytest
import torch

from models import build_model, load_checkpoint, save_checkpoint, weights
from models.growing import grow

TINY = {"embed_dims": (8, 16, 24, 32), "head_width": 8, "depths": (1, 2, 1, 1), "head_dim": 16}
LARGE = {"embed_dims": (24, 48, 72, 96), "head_width": 24, "head_dim": 32}


def trained(name: str, **overrides):
    """A network whose norms and running statistics are no longer those of a fresh one."""
    model = build_model(name, num_classes=3, **TINY | overrides)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return model.eval()


@pytest.mark.parametrize("depths", [(1, 2, 1, 1), (2, 2, 3, 1)])
@pytest.mark.parametrize("name", ["SegformerB0", "PVTv2B0"])
def test_the_logits_stay_though_widths_and_depths_grow(name, depths):
    small, large = trained(name), trained(name, **LARGE, depths=depths)
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        before = small(images)
        grow(small, large)
        torch.testing.assert_close(large(images), before, rtol=1e-4, atol=1e-5)
        assert torch.equal(small(images), before)


def test_copies_of_a_channel_get_other_gradients():
    small, large = trained("SegformerB0"), trained("SegformerB0", **LARGE)
    grow(small, large)
    large(torch.rand(1, 3, 64, 64)).square().sum().backward()
    projection = large.get_parameter("encoder.patch_embed1.proj.weight")
    copies, slopes = projection.unflatten(0, (-1, 3)), projection.grad.unflatten(0, (-1, 3))
    assert torch.equal(copies[:, 0], copies[:, 1])
    difference = (slopes[:, 0] - slopes[:, 1]).norm() / slopes.norm()
    assert difference > 0.1


def test_new_blocks_learn():
    small, large = trained("SegformerB0"), trained("SegformerB0", depths=(2, 2, 1, 1))
    grow(small, large)
    branch = [
        large.get_parameter(f"encoder.block1.1.{end}.weight") for end in ("attn.proj", "mlp.fc2")
    ]
    assert all(not last.any() for last in branch)
    optimizer = torch.optim.SGD(large.parameters(), lr=1e-4)
    for _ in range(2):  # the layers in front of a zero one learn from the second step on
        optimizer.zero_grad()
        large(torch.rand(1, 3, 64, 64)).square().sum().backward()
        optimizer.step()
    assert all(last.any() for last in branch)
    assert large.get_parameter("encoder.block1.1.mlp.fc1.weight").grad.any()


def test_the_seed_says_which_shares():
    small = trained("SegformerB0")
    states = []
    for seed in (1, 1, 2):
        large = trained("SegformerB0", **LARGE)
        grow(small, large, seed)
        states.append(large.get_parameter("encoder.block1.0.mlp.fc2.weight").detach())
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
    small, large = trained("SegformerB0"), trained("SegformerB0", **other)
    before = {key: value.clone() for key, value in large.state_dict().items()}
    with pytest.raises(ValueError, match="SegformerB0 is no larger SegformerB0: it takes one of"):
        grow(small, large)
    assert all(torch.equal(value, before[key]) for key, value in large.state_dict().items())


@pytest.mark.parametrize("name", ["SegformerB1", "SegformerB3"])
def test_the_command_writes_a_network_that_knows_its_classes(tmp_path, monkeypatch, capsys, name):
    small = build_model("SegformerB0", num_classes=3).eval()
    info = {
        "classes": ["soil", "crop", "weed"],
        "args": {"model": "SegformerB0", "lr": 0.1},
        "training_cost": {"params": 7, "flops": 7, "height": 32, "width": 32},
    }
    save_checkpoint(tmp_path / "b0.pth", small, info)
    words = ["grow", str(tmp_path / "b0.pth"), str(tmp_path / "large.pth"), "--model", name.lower()]
    monkeypatch.setattr("sys.argv", ["weights.py", *words])
    weights.main()
    assert f"SegformerB0 -> {name}, with the same logits: " in capsys.readouterr().out
    large, info = load_checkpoint(tmp_path / "large.pth")
    assert (large.name, info["classes"]) == (name, ["soil", "crop", "weed"])
    assert (info["args"], info["training_cost"]) == ({"model": name, "lr": 0.1}, None)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(large(images), small(images), rtol=1e-4, atol=1e-5)


def test_the_command_says_that_a_file_of_16_bits_is_rounded(tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path / "b0.pth", build_model("SegformerB0", num_classes=3), {})
    words = [str(tmp_path / "b0.pth"), str(tmp_path / "b1.safetensors"), "--model", "SegformerB1"]
    monkeypatch.setattr("sys.argv", ["weights.py", "grow", *words])
    weights.main()
    assert "with the same logits but for rounding to 16 bits: " in capsys.readouterr().out


@pytest.mark.parametrize("other", ["SegformerB0", "PVTv2B2"])
def test_the_command_refuses_a_network_that_is_no_larger_one(tmp_path, monkeypatch, other):
    save_checkpoint(tmp_path / "b2.pth", build_model("SegformerB2", num_classes=3), {})
    words = ["grow", str(tmp_path / "b2.pth"), str(tmp_path / "new.pth"), "--model", other]
    monkeypatch.setattr("sys.argv", ["weights.py", *words])
    with pytest.raises(ValueError, match=f"{other} is no larger SegformerB2"):
        weights.main()
    assert not (tmp_path / "new.pth").exists()
