import numpy as np
import pytest
import torch

from losses.attention_transfer import AttentionTransferLoss


def test_value_by_hand_with_different_widths():
    student = np.arange(8.0).reshape(1, 2, 2, 2) - 3
    teacher = np.arange(12.0).reshape(1, 3, 2, 2) - 5

    def attention(maps):
        energy = (maps[0] ** 2).mean(axis=0).ravel()
        return energy / np.sqrt((energy**2).sum())

    expected = ((attention(student) - attention(teacher)) ** 2).mean()
    value = AttentionTransferLoss()([torch.tensor(student)], [torch.tensor(teacher)])
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_stages_are_summed():
    a, b = torch.randn(2, 1, 3, 4, 4)
    loss = AttentionTransferLoss()
    a, b = a[None, 0], b[None, 0]
    assert torch.allclose(loss([a, a], [b, b]), 2 * loss([a], [b]))


def test_an_all_zero_map_is_no_division_by_zero():
    student = torch.zeros(1, 2, 3, 3, requires_grad=True)
    AttentionTransferLoss()([student], [torch.randn(1, 2, 3, 3)]).backward()
    assert student.grad.isfinite().all()


def test_with_a_reference_the_value_does_not_fall_with_the_crop():
    """A map and the same map four times as large: the mean falls to a fourth, the loss does not."""
    student, teacher = torch.randn(2, 1, 3, 8, 8)
    tiled = [maps.tile(1, 1, 2, 2) for maps in (student, teacher)]
    loss = AttentionTransferLoss(reference_side=8)
    assert loss([student], [teacher]) == AttentionTransferLoss()([student], [teacher])
    torch.testing.assert_close(loss([tiled[0]], [tiled[1]]), loss([student], [teacher]))
    wide = [maps.tile(1, 1, 1, 3) for maps in (student, teacher)]
    torch.testing.assert_close(loss([wide[0]], [wide[1]]), loss([student], [teacher]))


def test_with_a_reference_an_image_of_void_changes_nothing():
    student, teacher = torch.randn(2, 2, 3, 8, 8)
    labels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    labels[1] = 255
    loss = AttentionTransferLoss(reference_side=64)
    alone = loss([student[:1]], [teacher[:1]])
    torch.testing.assert_close(loss([student], [teacher], labels), alone)
