import numpy as np
import pytest
import torch

from losses.dense_contrast import DenseContrastLoss


def test_value_by_hand():
    """Two patches of 1 x 2 pixels, two groups of two channels."""
    student, teacher = np.random.RandomState(0).randn(2, 4, 4)  # channels, pixels
    losses = []
    for patch in ((0, 1), (2, 3)):
        for group in (slice(0, 2), slice(2, 4)):
            s, t = (x[group][:, patch] / np.linalg.norm(x[group][:, patch], axis=0)
                    for x in (student, teacher))  # fmt: skip
            scores = np.array(
                [[-abs(s[:, i] - t[:, j]).sum() / 0.5 for j in (0, 1)] for i in (0, 1)]
            )
            shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            losses += [-np.log(shares[i, i]) for i in (0, 1)]
    maps = [torch.tensor(x).reshape(1, 4, 1, 4) for x in (student, teacher)]
    value = DenseContrastLoss(patch=2, groups=2, temperature=0.5)([maps[0]], [maps[1]])
    assert value.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_cells_beyond_the_last_whole_patch_and_void_do_not_count():
    student, teacher = torch.randn(2, 1, 4, 4, 6)
    loss = DenseContrastLoss(patch=4, groups=1)
    whole = loss([student[..., :4]], [teacher[..., :4]])
    torch.testing.assert_close(loss([student], [teacher]), whole)
    labels = torch.full((1, 4, 8), 255, dtype=torch.uint8)
    labels[..., :4] = 0
    student, teacher = torch.randn(2, 1, 4, 4, 8)
    whole = loss([student[..., :4]], [teacher[..., :4]])
    torch.testing.assert_close(loss([student], [teacher], labels), whole)
