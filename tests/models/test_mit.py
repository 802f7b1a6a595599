"""The Mix Transformer encoder: shapes at any size, errors, and the published definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.encoder import attention_heads
from models.mit import DepthwiseConv, EfficientAttention, MixTransformer

DIMS, DEPTHS = (8, 16, 24, 32), (1, 2, 1, 1)


def tiny(**options) -> MixTransformer:
    torch.manual_seed(0)
    return MixTransformer(DIMS, DEPTHS, **options)


@settings(max_examples=12, deadline=None)
@given(height=st.integers(32, 99), width=st.integers(32, 99))
def test_maps_have_the_ceiling_of_the_stride(height, width):
    encoder = tiny().eval()
    with torch.inference_mode():
        features, embeddings, _ = encoder.forward_intermediates(torch.zeros(1, 3, height, width))
    expected = [
        (1, dim, -(-height // stride), -(-width // stride))
        for dim, stride in zip(encoder.widths, encoder.strides, strict=True)
    ]
    assert [tuple(x.shape) for x in features] == expected
    assert [tuple(x.shape) for x in embeddings] == expected


def test_maps_stay_channels_last():
    features, embeddings, _ = tiny().forward_intermediates(torch.randn(2, 3, 64, 96))
    for x in features + embeddings:
        assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 31, 64), "31x64"),
        ((1, 3, 64, 31), "64x31"),
        ((1, 4, 64, 64), r"\(B, 3, H, W\)"),
        ((3, 64, 64), r"\(B, 3, H, W\)"),
    ],
)
def test_unfit_images_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        tiny()(torch.zeros(shape))


def test_unnormalised_images_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        tiny()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_heads_as_published():
    assert attention_heads((32, 64, 160, 256), 32) == (1, 2, 5, 8)
    assert attention_heads((64, 128, 320, 512), 64) == (1, 2, 5, 8)
    assert attention_heads(DIMS, 32) == (1, 1, 1, 1)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        EfficientAttention(16, num_heads=3, sr_ratio=1)


def test_attention_equals_its_definition():
    torch.manual_seed(0)
    attention = EfficientAttention(16, num_heads=2, sr_ratio=2)
    x = torch.randn(2, 5, 6, 16)
    reduced = attention.norm(attention.sr(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2))
    key, value = attention.kv(reduced).split(16, dim=-1)
    query = attention.q(x).reshape(2, 30, 16)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        scores = query[..., part] @ key[..., part].transpose(1, 2) / 8**0.5
        heads.append(scores.softmax(dim=-1) @ value[..., part])
    expected = attention.proj(torch.cat(heads, dim=-1)).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected)


def test_attention_of_a_training_step_in_bfloat16_equals_that_of_inference():
    torch.manual_seed(0)
    attention = EfficientAttention(16, num_heads=2, sr_ratio=2)
    x = torch.randn(2, 6, 8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        learning = attention(x)
        with torch.no_grad():
            answering = attention(x)
    assert learning.dtype == answering.dtype == torch.bfloat16
    torch.testing.assert_close(learning, answering, atol=0.01, rtol=0.02)
    expected = torch.autograd.grad(attention(x).square().sum(), tuple(attention.parameters()))
    found = torch.autograd.grad(learning.float().square().sum(), tuple(attention.parameters()))
    for quick, exact in zip(found, expected, strict=True):
        assert (quick - exact).norm() <= 0.03 * exact.norm()


def test_stochastic_depth_grows_linearly():
    encoder = MixTransformer(DIMS, (2, 2, 2, 2), drop_path_rate=0.7)
    blocks = [block for s in range(1, 5) for block in encoder.get_submodule(f"block{s}")]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def test_initialisation():
    encoder = MixTransformer((64, 128, 160, 256), DEPTHS)
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert not module.bias.any()
        elif isinstance(module, DepthwiseConv):
            assert module.dwconv.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    assert encoder.patch_embed2.proj.weight.std().item() == pytest.approx(
        (2 / (9 * 128)) ** 0.5, rel=0.1
    )


def test_every_parameter_is_trained():
    encoder = tiny(drop_path_rate=0.0)
    sum(x.square().mean() for x in encoder(torch.randn(2, 3, 64, 64))).backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None]
