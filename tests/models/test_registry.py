"""Names -> networks."""

import pytest
import torch

from models import MODELS, Segmenter, build_model

FIVE = [f"B{i}" for i in range(6)]


def test_known_names():
    assert list(MODELS) == [f"Segformer{b}" for b in FIVE] + [f"PVTv2{b}" for b in FIVE]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_describes_itself(name):
    overrides = {"depths": (1, 1, 1, 1)}
    with torch.device("meta"):  # shapes without memory
        model = build_model(name, num_classes=19, **overrides)
    assert isinstance(model, Segmenter)
    assert (model.name, model.num_classes, model.overrides) == (name, 19, overrides)
    base = 32 if name.endswith("B0") else 64
    assert model.widths == model.encoder.widths == (base, base * 2, base * 5, base * 8)
    assert model.encoder.strides == (4, 8, 16, 32)
    small = name.endswith(("B0", "B1"))
    assert model.head.linear_pred.weight.shape == (19, 256 if small else 768, 1, 1)


@pytest.mark.parametrize(("name", "millions"), [("SegformerB1", 13.7), ("SegformerB5", 84.7)])
def test_published_size(name, millions):
    """As in SegFormer's table 1, with ADE20K's 150 classes; golden files pin B0, B2 and B3."""
    with torch.device("meta"):
        model = build_model(name, num_classes=150)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


def test_case_does_not_matter():
    assert build_model("SEGFORMERb0", 2, embed_dims=(8,) * 4, depths=(1,) * 4).name == "SegformerB0"


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"'Segformer'.*SegformerB0.*PVTv2B5"):
        build_model("Segformer", 3)


def test_no_classes():
    with pytest.raises(ValueError, match="num_classes"):
        build_model("SegformerB0", 0)


@pytest.mark.parametrize("name", ["SegformerB0", "PVTv2B0"])
def test_overrides(name):
    overrides = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}
    overrides |= {"drop_path_rate": 0.0, "dropout": 0.3}
    model = build_model(name, 3, **overrides)
    assert model.overrides == overrides
    assert model.widths == (8, 16, 24, 32)
    assert model.head.linear_c1.proj.out_features == 16
    assert model.head.dropout.p == 0.3
    assert sum(p.numel() for p in model.parameters()) < 70_000
