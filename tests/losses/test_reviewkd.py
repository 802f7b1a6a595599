from types import SimpleNamespace

import numpy as np
import pytest
import torch

from losses.reviewkd import AttentionMix, HierarchicalContextLoss, ReviewFusion


def pool(x: np.ndarray, size: int) -> np.ndarray:
    """Average over equal blocks of a (1, 1, 8, 8) map."""
    step = 8 // size
    return x.reshape(size, step, size, step).mean(axis=(1, 3))


def test_value_by_hand_with_all_three_pools():
    student, teacher = np.random.RandomState(0).randn(2, 8, 8)
    difference = student - teacher
    expected = (difference**2).mean()
    for weight, size in ((1 / 2, 4), (1 / 4, 2), (1 / 8, 1)):
        expected += weight * (pool(difference, size) ** 2).mean()
    value = HierarchicalContextLoss()(*([torch.tensor(x)[None, None]] for x in (student, teacher)))
    assert value.item() == pytest.approx(expected / 1.875, rel=1e-5)


def test_pools_that_do_not_shrink_the_map_are_skipped():
    student, teacher = np.random.RandomState(0).randn(2, 2, 2)
    difference = student - teacher
    expected = ((difference**2).mean() + difference.mean() ** 2 / 2) / 1.5
    value = HierarchicalContextLoss()(*([torch.tensor(x)[None, None]] for x in (student, teacher)))
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_golden(golden, golden_maps):
    value = HierarchicalContextLoss()(
        golden_maps("student.feature"), golden_maps("teacher.feature")
    )
    assert value.item() == pytest.approx(golden("transkd")["losses"]["hcl"], rel=1e-4)


def test_attention_weighs_two_maps_per_pixel():
    mix = AttentionMix(width=2)
    x, y = torch.randn(2, 1, 2, 3, 4)
    with torch.no_grad():
        mix.attend.weight.zero_()
        mix.attend.weight[0, 1] = 1.0  # the weight of x reads the second channel of x
        mix.attend.weight[1, 2] = 2.0  # that of y the first one of y
        mix.attend.bias.copy_(torch.tensor([0.5, -1.0]))
    expected = x * torch.sigmoid(x[:, 1:] + 0.5) + y * torch.sigmoid(2 * y[:, :1] - 1)
    torch.testing.assert_close(mix(x, y), expected)


def test_fusion_goes_from_coarse_to_fine():
    sides, teacher_widths = (16, 8, 4, 2), (5, 6, 7, 8)
    maps = [torch.randn(1, 4, side, side, requires_grad=True) for side in sides]
    fusion = ReviewFusion((4, 4, 4, 4), teacher_widths, width=3).eval()
    outputs = fusion(SimpleNamespace(features=maps))
    shapes = [(1, width, side, side) for width, side in zip(teacher_widths, sides, strict=True)]
    assert [tuple(output.shape) for output in outputs] == shapes
    for stage, output in enumerate(outputs):
        gradients = torch.autograd.grad(
            output.square().sum(), maps, retain_graph=True, allow_unused=True
        )
        reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
        assert reached == [other >= stage for other in range(4)]
