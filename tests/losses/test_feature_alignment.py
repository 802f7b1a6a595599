"""Feature alignment ("FA")."""

import pytest
import torch
import torch.nn.functional as F

from losses.feature_alignment import FeatureAlignmentLoss


def test_golden_value(golden, golden_maps):
    loss = FeatureAlignmentLoss()(golden_maps("student.feature"), golden_maps("teacher.feature"))
    assert loss.item() == pytest.approx(golden("sekd")["losses"]["feature_alignment"], rel=1e-5)


def test_by_hand():
    """Shrunk by four without antialiasing, a pixel is the mean of the four in the middle."""
    student = torch.zeros(1, 1, 4, 8)
    student[0, 0, 1, 1] = 8.0  # in the middle of the left one of two squares
    student[0, 0, 0, 4] = 100.0  # in the corner of the right one
    loss = FeatureAlignmentLoss()([student], [torch.zeros(1, 1, 4, 8)])
    assert loss.item() == pytest.approx((8 / 4) ** 2 / 2)


def test_a_rest_beyond_the_last_four_pixels_is_not_seen():
    student = torch.zeros(1, 1, 6, 6)
    student[0, 0, 1, 2] = 8.0
    student[0, 0, 3:] = student[0, 0, :, 3:] = 100.0
    loss = FeatureAlignmentLoss()([student], [torch.zeros(1, 1, 6, 6)])
    assert loss.item() == pytest.approx((8 / 4) ** 2)


@pytest.mark.parametrize("size", [(7, 13), (3, 9), (1, 1)])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_any_size(size, bf16):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, *size, requires_grad=True), torch.randn(2, 5, *size)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert FeatureAlignmentLoss()([student], [student.detach()]).item() == 0
        loss = FeatureAlignmentLoss()([student], [teacher])
    loss.backward()
    assert loss.shape == ()
    assert loss > 0
    assert student.grad.isfinite().all()


def test_the_difference_is_shrunk_in_place_of_both():
    student, teacher = torch.randn(2, 3, 9, 14), torch.randn(2, 3, 9, 14)
    shrunk = [F.interpolate(x, scale_factor=0.25, mode="bilinear") for x in (student, teacher)]
    loss = FeatureAlignmentLoss()([student], [teacher])
    assert loss.item() == pytest.approx(F.mse_loss(*shrunk).item(), rel=1e-5)
