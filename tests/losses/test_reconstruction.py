"""Reconstruction ("SU")."""

import pytest
import torch

from losses.reconstruction import ReconstructionLoss


def starts(row: int, column: int):
    return [(torch.tensor([row]), torch.tensor([column]))]


def test_golden_value(golden, golden_maps):
    """The list has, stage by stage, the first rows of both samples, then their first columns."""
    losses = golden("sekd")["losses"]
    corners = torch.tensor(losses["reconstruction_mask_starts_per_stage_h_then_w"])
    drawn = [(corners[2 * stage], corners[2 * stage + 1]) for stage in range(4)]
    maps = golden_maps("student.feature"), golden_maps("teacher.feature")
    loss = ReconstructionLoss()(*maps, starts=drawn)
    assert loss.item() == pytest.approx(losses["reconstruction"], rel=1e-5)


def test_by_hand():
    """Of 4 x 7 pixels a hole of 1 x 2 counts as zero: 5 - 0 there, 5 - 2 elsewhere."""
    student, teacher = torch.full((1, 3, 4, 7), 2.0), torch.full((1, 3, 4, 7), 5.0)
    loss = ReconstructionLoss()([student], [teacher], starts=starts(2, 4))
    assert loss.item() == pytest.approx((26 * 9 + 2 * 25) / 28)


def test_the_hole_sends_no_gradient():
    student = torch.zeros(1, 2, 10, 20, requires_grad=True)
    ReconstructionLoss()([student], [torch.ones(1, 2, 10, 20)], starts=starts(3, 5)).backward()
    zero = student.grad == 0
    assert zero[:, :, 3:6, 5:11].all()
    assert zero.sum() == 2 * 3 * 6


def test_identical_maps_cost_the_energy_in_the_hole():
    maps = torch.full((1, 2, 10, 10), 3.0)
    assert ReconstructionLoss()([maps], [maps]).item() == pytest.approx(9 * 9 / 100)
    assert ReconstructionLoss(ratio=0)([maps], [maps]).item() == 0


def test_drawn_corners_fill_their_range():
    torch.manual_seed(0)
    loss, maps = ReconstructionLoss(), torch.zeros(500, 1, 10, 20)
    rows, columns = loss.draw(maps)
    assert set(rows.tolist()) == set(range(7))
    assert set(columns.tolist()) == set(range(14))
    assert (loss.hole(maps, (rows, columns)).sum((1, 2, 3)) == 3 * 6).all()


def test_holes_follow_torchs_generator():
    student, teacher = torch.randn(2, 3, 10, 12), torch.randn(2, 3, 10, 12)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(ReconstructionLoss()([student], [teacher]).item())
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("size", [(9, 13), (3, 2), (1, 1)])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_finite_gradients_at_any_size(size, bf16):
    student = torch.randn(2, 3, *size, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = ReconstructionLoss()([student], [torch.randn(2, 3, *size)])
    loss.backward()
    assert loss.shape == ()
    assert loss > 0
    assert student.grad.isfinite().all()
