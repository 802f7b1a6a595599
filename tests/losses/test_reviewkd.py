import numpy as np
import pytest
import torch

from losses.reviewkd import HierarchicalContextLoss


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
