import numpy as np
import pytest
import torch

from losses.normalized_features import EPSILON, NormalizedFeatureLoss


def test_value_by_hand():
    student, teacher = np.random.RandomState(0).randn(2, 2, 3, 4, 5)

    def normal(maps):
        deviation = maps - maps.mean((2, 3), keepdims=True)
        return deviation / np.sqrt((deviation**2).mean((2, 3), keepdims=True) + EPSILON**2)

    expected = ((normal(student) - normal(teacher)) ** 2).mean()
    value = NormalizedFeatureLoss()([torch.tensor(student)], [torch.tensor(teacher)])
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_scale_and_offset_of_a_channel_do_not_count():
    maps = torch.randn(2, 3, 6, 6)
    scaled = maps * torch.tensor([2.0, 5.0, 9.0])[:, None, None] + 4
    assert NormalizedFeatureLoss()([maps], [scaled]).item() == pytest.approx(0, abs=1e-5)


def test_a_constant_channel_has_finite_gradients():
    student = torch.full((1, 1, 4, 4), 3.0, requires_grad=True)
    NormalizedFeatureLoss()([student], [torch.randn(1, 1, 4, 4)]).backward()
    assert student.grad.isfinite().all()
