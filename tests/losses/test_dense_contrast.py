import numpy as np
import pytest
import torch
from torch.nn import functional as F

from losses.dense_contrast import DenseContrastLoss
from losses.methods import METHODS


def test_value_by_hand():
    """Two patches of 1 x 2 cells, two groups of two channels: three places to choose from."""
    student, teacher = np.random.RandomState(0).randn(2, 2, 2, 4)  # group, channel, cell
    losses = []
    for patch in ((0, 1), (2, 3)):
        for group, cell in ((g, c) for g in (0, 1) for c in patch):
            own = abs(student[group, :, cell] - teacher[group, :, cell]).sum() / 0.5
            others = [
                abs(student[group, :, cell] - teacher[1 - group, :, other]).sum() / 0.5
                for other in patch
            ]
            shares = np.exp([-own, *(-distance for distance in others)])
            losses.append(-np.log(shares[0] / shares.sum()))
    maps = [torch.tensor(x).reshape(1, 4, 1, 4) for x in (student, teacher)]
    value = DenseContrastLoss(patch=2, groups=2, temperature=0.5)([maps[0]], [maps[1]])
    assert value.item() == pytest.approx(2 * np.mean(losses), rel=1e-5)


def test_cells_beyond_the_last_whole_patch_and_void_do_not_count():
    student, teacher = torch.randn(2, 1, 4, 4, 6)
    loss = DenseContrastLoss(patch=4, groups=2)
    whole = loss([student[..., :4]], [teacher[..., :4]])
    assert whole > 0
    torch.testing.assert_close(loss([student], [teacher]), whole)
    labels = torch.full((1, 4, 8), 255, dtype=torch.uint8)
    labels[..., :4] = 0
    student, teacher = torch.randn(2, 1, 4, 4, 8)
    whole = loss([student[..., :4]], [teacher[..., :4]])
    torch.testing.assert_close(loss([student], [teacher], labels), whole)


def test_the_teachers_void_cells_are_no_wrong_answers():
    """A void cell of the patch is left out as what a group could be taken for, too."""
    student, teacher = torch.randn(2, 1, 4, 2, 2)
    loss = DenseContrastLoss(patch=2, groups=2)
    labels = torch.tensor([[[0, 0], [0, 255]]], dtype=torch.uint8)
    other = teacher.clone()
    other[..., 1, 1] += 5
    torch.testing.assert_close(loss([student], [teacher], labels), loss([student], [other], labels))


def test_large_maps_are_pooled_as_the_authors_do():
    student, teacher = torch.randn(2, 1, 4, 64, 64)
    pooled = [F.max_pool2d(maps, 4) for maps in (student, teacher)]
    value = DenseContrastLoss(groups=2)([student], [teacher])
    torch.testing.assert_close(
        value, DenseContrastLoss(groups=2, side=64)([pooled[0]], [pooled[1]])
    )


def test_void_cells_are_no_part_of_what_is_pooled():
    """Void are every fourth row and the last two columns: parts of pooled cells, and whole ones."""
    student, teacher = torch.randn(2, 1, 4, 16, 16)
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[:, ::4] = 255
    labels[..., -2:] = 255
    other = torch.where(labels[:, None] == 255, 100.0, teacher)
    loss = DenseContrastLoss(patch=2, groups=2, side=8)
    value = loss([student], [teacher], labels)
    assert torch.isfinite(value)
    torch.testing.assert_close(value, loss([student], [other], labels))
    assert value != loss([student], [teacher])


def test_both_halves_of_the_method_read_the_generated_map():
    assert {term.reads for term in METHODS["af-dcd"].terms} == {"generator"}
