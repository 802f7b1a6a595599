"""PVTv2 encoders: timm's outputs, plus the patch embeddings that timm does not return."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import build_model
from models.pvt import PyramidVisionTransformer

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1)}


def tiny() -> PyramidVisionTransformer:
    torch.manual_seed(0)
    return PyramidVisionTransformer("pvt_v2_b0", **TINY).eval()


def test_features_equal_timm():
    encoder = PyramidVisionTransformer("pvt_v2_b0").eval()
    reference = timm.create_model("pvt_v2_b0", features_only=True).eval()
    weights = encoder.backbone.state_dict()
    reference.load_state_dict({key.replace("stages.", "stages_"): v for key, v in weights.items()})
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for got, expected in zip(encoder(images), reference(images), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_embeddings_are_what_enters_the_blocks():
    encoder, seen = tiny(), []
    for stage in encoder.backbone.stages:
        stage.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        _, embeddings, _ = encoder.forward_intermediates(torch.randn(2, 3, 45, 70))
    for embedding, tokens in zip(embeddings, seen, strict=True):
        assert torch.equal(embedding.flatten(2).transpose(1, 2), tokens)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(32, 99), width=st.integers(32, 99))
def test_any_size(height, width):
    encoder = tiny()
    with torch.inference_mode():
        features, embeddings, _ = encoder.forward_intermediates(torch.zeros(1, 3, height, width))
    expected = [
        (1, dim, -(-height // stride), -(-width // stride))
        for dim, stride in zip(encoder.widths, encoder.strides, strict=True)
    ]
    assert [tuple(x.shape) for x in features] == expected
    assert [tuple(x.shape) for x in embeddings] == expected


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="20x64"):
        tiny()(torch.zeros(1, 3, 20, 64))


def test_with_the_segformer_head():
    model = build_model("PVTv2B0", 3, head_dim=16, **TINY).train()
    logits = model(torch.randn(2, 3, 40, 72))
    assert logits.shape == (2, 3, 10, 18)
    logits.square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
