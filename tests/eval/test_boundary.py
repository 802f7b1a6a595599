"""Boundary IoU against erosion step by step, and on outlines that are known by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from eval.boundary import BoundaryMetrics


def plain(prediction, label, classes, steps):
    """Erode by a 3 x 3 square, step by step, and count the pixels that are lost."""
    scores = []
    for index in range(classes):
        rims = [
            mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=steps)
            for mask in ((prediction == index) & (label != 255), label == index)
        ]
        union = (rims[0] | rims[1]).sum()
        scores.append((rims[0] & rims[1]).sum() / union if union else None)
    return scores


@pytest.mark.parametrize("steps", [1, 3])
def test_equals_erosion_step_by_step(steps):
    random = np.random.default_rng(steps)
    blocks = random.integers(0, 3, (2, 5, 7), dtype=np.uint8).repeat(11, 1).repeat(11, 2)
    prediction, label = blocks
    label[20:26, 30:50] = 255
    metrics = BoundaryMetrics(4, ratio=steps / np.hypot(*label.shape))
    metrics.update(torch.from_numpy(prediction)[None], torch.from_numpy(label)[None].long())
    result = metrics.compute()
    assert result["per_class"] == pytest.approx(plain(prediction, label, 4, steps))
    assert result["per_class"][3] is None
    assert result["miou"] == pytest.approx(np.mean(result["per_class"][:3]))


def test_a_shifted_square_by_hand():
    """A square of 10, rim of 1: 36 px each. Shifted by 1 to the right, 18 are shared."""
    label, prediction = np.zeros((2, 40, 30), np.uint8)
    label[5:15, 5:15] = 1
    prediction[5:15, 6:16] = 1
    metrics = BoundaryMetrics(2, ratio=0.02)  # of a diagonal of 50 px
    metrics.update(torch.from_numpy(prediction)[None], torch.from_numpy(label)[None])
    assert metrics.compute()["per_class"][1] == pytest.approx(18 / 54)
