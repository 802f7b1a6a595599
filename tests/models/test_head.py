"""The decode head: what runs equals the published formulation, in value and in gradient."""

import pytest
import torch
import torch.nn.functional as F

from models.head import SegformerHead, add_upsampled, interpolation_matrix

WIDTHS = (6, 10, 14, 18)
SIZES = {
    "square": [(16, 16), (8, 8), (4, 4), (2, 2)],
    "odd": [(13, 21), (7, 11), (4, 6), (2, 3)],
}


def build(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> SegformerHead:
    """A head whose batch norm has moved away from its neutral start."""
    torch.manual_seed(0)
    head = SegformerHead(WIDTHS, num_classes=5, head_dim=12, dropout=dropout)
    for tensor in (*head.linear_fuse.bn.parameters(), *head.linear_fuse.bn.buffers()):
        if tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return head.to(dtype)


def draw(sizes, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [
        torch.randn(2, c, *size, dtype=dtype, requires_grad=True)
        for c, size in zip(WIDTHS, sizes, strict=True)
    ]


def run(head, forward, features):
    """Logits and the gradients that an arbitrary loss gives to features and parameters."""
    logits = forward(features)
    torch.manual_seed(2)
    loss = (logits * torch.randn(logits.shape, dtype=logits.dtype)).sum()
    return logits, torch.autograd.grad(loss, [*features, *head.parameters()])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_merged_equals_published_formulation(sizes, training):
    plain, merged = build().train(training), build().train(training)
    expected, expected_grads = run(
        plain, lambda x: plain.classify(plain.fuse_plain(x)), draw(sizes)
    )
    logits, grads = run(merged, merged, draw(sizes))
    assert logits.shape == (2, 5, *sizes[0])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grads, expected_grads, atol=1e-5, rtol=1e-5)
    # Batch norm has seen the same statistics, the projections' biases included.
    torch.testing.assert_close(merged.state_dict(), plain.state_dict(), atol=1e-5, rtol=1e-5)


def test_plain_formulation_equals_its_definition():
    head, features = build().eval(), draw(SIZES["odd"])
    maps = []
    for stage in (4, 3, 2, 1):
        projection = head.get_submodule(f"linear_c{stage}.proj")
        x = torch.einsum("bchw,dc->bdhw", features[stage - 1], projection.weight)
        x = x + projection.bias[:, None, None]
        maps.append(F.interpolate(x, size=(13, 21), mode="bilinear", align_corners=False))
    fused = F.relu(head.linear_fuse.bn(head.linear_fuse.conv(torch.cat(maps, dim=1))))
    torch.testing.assert_close(head.fuse_plain(features), fused)


@pytest.mark.parametrize(("size_in", "size_out"), [(4, 32), (5, 5), (1, 7), (61, 121), (7, 3)])
def test_interpolation_matrix_is_torch_linear(size_in, size_out):
    x = torch.randn(2, 3, size_in, dtype=torch.float64)
    expected = F.interpolate(x, size=size_out, mode="linear", align_corners=False)
    matrix = interpolation_matrix(size_in, size_out, x)
    torch.testing.assert_close(x @ matrix.T, expected)


def test_add_upsampled_equals_resize_and_add():
    torch.manual_seed(0)
    base, *maps = (torch.randn(2, *size, 5) for size in SIZES["odd"])
    expected = base.permute(0, 3, 1, 2)
    for x in maps:
        expected = expected + F.interpolate(x.permute(0, 3, 1, 2), size=(13, 21), mode="bilinear")
    torch.testing.assert_close(add_upsampled(base, maps), expected.permute(0, 2, 3, 1))


def test_layout_of_the_features_does_not_matter():
    head, features = build().eval(), draw(SIZES["odd"])
    channels_last = [x.contiguous(memory_format=torch.channels_last) for x in features]
    torch.testing.assert_close(head(features), head(channels_last))


def test_whole_channels_are_dropped_in_training_only():
    head, features = build(dropout=0.5), draw(SIZES["square"])
    head.linear_pred = torch.nn.Identity()
    empty = (head.train()(features) == 0).flatten(2).all(dim=-1)
    assert 0 < empty.sum() < empty.numel()
    torch.testing.assert_close(head.eval()(features), head(features))


def test_bfloat16_autocast_is_close():
    head, features = build(dtype=torch.float32).eval(), draw(SIZES["odd"], torch.float32)
    expected = head(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, atol=0.05, rtol=0.05)
