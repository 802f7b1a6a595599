"""What a stranger's checkpoint says about itself is checked before anything is made of it."""

import random
import re

import pytest
import torch

from models import load_checkpoint, save_checkpoint
from models.description import Description
from models.reading import INFO
from tests.soak.mutations import JUNK, damaged

INFORMED = {
    "classes": ["soil", "crop", "weed"],
    "palette": [[0, 0, 0], [0, 255, 0], [255, 0, 0]],
    "dataset": "VOC",
    "args": {"stage": "student", "scale": [0.5, 2.0], "datadir": "data"},
    "metrics": {"miou": 0.5, "per_class": [0.5, None, 0.25]},
    "training_cost": {"params": 10, "flops": 20, "height": 32, "width": 64},
    "seed": 3,
}


@pytest.fixture
def content(tiny_model, tmp_path):
    """What a checkpoint holds."""
    save_checkpoint(tmp_path / "whole.pth", tiny_model, INFORMED, training={"progress": {}})
    return torch.load(tmp_path / "whole.pth", weights_only=True)


def test_every_entry_has_a_type():
    assert set(INFO) <= set(Description.model_fields)


BAD = {
    "classes": ["soil", 1],
    "palette": [[0, 0, 256]],
    "ignore_index": "255",
    "preprocessing": {"mean": [0, 0, 0], "std": [1, 1, 0]},
    "args": {"datadir": ["data"]},
    "metrics": [0.5],
    "training_cost": {"params": 10},
    "seed": "3",
    "versions": {"torch": 2},
    "architecture": ["SegformerB0"],
    "overrides": {"checkpoint_path": "evil.pth"},
    "adapters": {"a": 1},
    "training": 5,
    "format_version": None,
}


@pytest.mark.parametrize("entry", BAD)
def test_an_entry_of_another_type_is_named(entry, content, tmp_path):
    torch.save(content | {entry: BAD[entry]}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=rf"bad.pth: damaged, .*: {entry}") as refused:
        load_checkpoint(tmp_path / "bad.pth")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("overrides", [{"embed_dims": (8, 16, 24, 4096)}, {"depths": (1, 1, 1, 9)}])
def test_no_larger_network_is_built_than_the_file_has_weights_for(overrides, content, tmp_path):
    torch.save(content | {"overrides": content["overrides"] | overrides}, tmp_path / "large.pth")
    with pytest.raises(ValueError, match="large.pth: does not fit SegformerB0: widths 8/16/24/32"):
        load_checkpoint(tmp_path / "large.pth")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"embed_dims": 1.5}, "'embed_dims' is not a list"),
        ({"model": 3}, "no SegformerB0 can be built of its 'overrides'"),
        ({"head_dim": (1, 2)}, "no SegformerB0 can be built of its 'overrides'"),
        ({"sr_ratios": (4096, 4, 2, 1)}, "'overrides' describe 1"),
    ],
)
def test_overrides_that_describe_no_network_are_refused(overrides, told, content, tmp_path):
    torch.save(content | {"overrides": content["overrides"] | overrides}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth: damaged") as refused:
        load_checkpoint(tmp_path / "odd.pth")
    assert told in str(refused.value)


@pytest.mark.parametrize("junk", [j for j in JUNK if not isinstance(j, torch.Tensor)], ids=repr)
def test_weights_are_dense_tensors_by_name(junk, content, tmp_path):
    weights = content["model"] | {"head.linear_pred.bias": junk}
    torch.save(content | {"model": weights}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=re.escape("bad.pth: damaged")):
        load_checkpoint(tmp_path / "bad.pth")


@pytest.mark.parametrize("seed", range(30))
def test_damage_is_one_line(seed, content, tmp_path):
    torch.save(damaged(content, random.Random(seed)), tmp_path / "damaged.pth")
    try:
        load_checkpoint(tmp_path / "damaged.pth", resume=True)
    except ValueError as refused:
        assert "damaged.pth" in str(refused) and "\n" not in str(refused)
