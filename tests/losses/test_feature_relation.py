"""Feature relation ("CT")."""

import pytest
import torch

from losses.feature_relation import FeatureRelationLoss, channel_relation


def test_golden_value(golden, golden_maps):
    loss = FeatureRelationLoss()(golden_maps("student.feature"), golden_maps("teacher.feature"))
    assert loss.item() == pytest.approx(golden("sekd")["losses"]["feature_relation"], rel=1e-5)


def test_relation_by_hand():
    maps = torch.tensor([[3.0, 0.0], [4.0, 0.0]]).view(1, 2, 1, 2)  # Gram matrix 9, 12; 12, 16
    expected = torch.tensor([[[0.6, 0.6], [0.8, 0.8]]])
    torch.testing.assert_close(channel_relation(maps), expected)


def test_loss_by_hand():
    student = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)  # relation 1, 0; 0, 0
    teacher = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)  # relation 0, 0; 0, 1
    loss = FeatureRelationLoss()([student], [teacher])
    assert loss.item() == pytest.approx(2 / 2 + 2 / 4)


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_zero_on_identical_maps_and_finite_gradients(bf16):
    torch.manual_seed(0)
    student = torch.randn(2, 6, 5, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert FeatureRelationLoss()([student], [student.detach()]).item() == 0
        loss = FeatureRelationLoss()([student], [torch.randn(2, 6, 5, 9)])
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss > 0
    assert student.grad.isfinite().all()


def test_a_dead_channel_has_finite_gradients():
    student = torch.zeros(1, 4, 3, 5, requires_grad=True)
    FeatureRelationLoss()([student], [torch.ones(1, 4, 3, 5)]).backward()
    assert student.grad.isfinite().all()
