"""The FEF adapter and its attention gates."""

import torch

from losses.attention_enhanced import ChannelAttention, FeatureEnhancementFusion, SpatialAttention


def test_channel_gate_by_hand():
    gate = ChannelAttention(2)  # one hidden channel: 2 x 0.5, its output doubled for channel 0
    gate.fc[0].weight.data.fill_(0.5)
    gate.fc[2].weight.data.copy_(torch.tensor([2.0, -2.0]).view(2, 1, 1, 1))
    maps = torch.tensor([[1.0, 3.0], [0.0, 2.0]]).view(1, 2, 1, 2)
    # means 2, 1 -> 1.5; largest 3, 2 -> 2.5; together 2 x 4 = 8 and -8
    weights = torch.sigmoid(torch.tensor([8.0, -8.0])).view(1, 2, 1, 1)
    torch.testing.assert_close(gate(maps), maps * weights)


def test_spatial_gate_by_hand():
    gate = SpatialAttention()
    gate.conv.weight.data.zero_()
    gate.conv.weight.data[0, :, 3, 3] = torch.tensor([1.0, -2.0])  # mean - 2 largest, same pixel
    maps = torch.tensor([[1.0, 0.0], [3.0, 2.0]]).view(1, 2, 1, 2)
    weights = torch.sigmoid(torch.tensor([2 - 2 * 3.0, 1 - 2 * 2.0])).view(1, 1, 1, 2)
    torch.testing.assert_close(gate(maps), maps * weights)


def test_fusion_of_a_map_that_is_not_square():
    fusion = FeatureEnhancementFusion(5, 40)
    out = fusion(torch.randn(2, 5, 6, 11))
    assert out.shape == (2, 40, 6, 11)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


def test_published_layer_names():
    assert set(FeatureEnhancementFusion(32, 64).state_dict()) == {
        "conv1.0.weight",
        *(f"conv{i}.1.{name}" for i in (1, 2) for name in ("weight", "bias")),
        *(f"conv{i}.1.running_{name}" for i in (1, 2) for name in ("mean", "var")),
        *(f"conv{i}.1.num_batches_tracked" for i in (1, 2)),
        "conv2.0.weight",
        *(f"cbam{i}.channel_attention.fc.{j}.weight" for i in (1, 2) for j in (0, 2)),
        *(f"cbam{i}.spatial_attention.conv.weight" for i in (1, 2)),
    }
