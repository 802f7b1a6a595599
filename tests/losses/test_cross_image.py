import numpy as np
import pytest
import torch

from losses.cross_image import CrossImageLoss


def expected_value(student, teacher, tau):
    """Loops over images and pixels, in numpy."""
    B = len(student)

    def rows(maps, i, j):
        a, b = (maps[n].reshape(maps.shape[1], -1) for n in (i, j))
        a, b = a / np.linalg.norm(a, axis=0), b / np.linalg.norm(b, axis=0)
        e = np.exp(a.T @ b / tau)
        return e / e.sum(axis=1, keepdims=True)

    values = []
    for i in range(B):
        for j in range(B):
            p_s, p_t = rows(student, i, j), rows(teacher, i, j)
            values.append((p_t * np.log(p_t / p_s)).sum(axis=1).mean())
    return np.mean(values)


@pytest.mark.parametrize("batch", [1, 3])
def test_value_by_hand_with_different_widths(batch):
    random = np.random.RandomState(0)
    student, teacher = random.randn(batch, 4, 2, 3), random.randn(batch, 5, 2, 3)
    value = CrossImageLoss(temperature=0.5)([torch.tensor(student)], [torch.tensor(teacher)])
    assert value.item() == pytest.approx(expected_value(student, teacher, 0.5), rel=1e-4)


def test_large_maps_are_pooled():
    student, teacher = torch.randn(2, 2, 4, 8, 12).unbind(0)
    pooled = [torch.nn.functional.adaptive_avg_pool2d(x, (4, 4)) for x in (student, teacher)]
    loss = CrossImageLoss(max_size=4)
    assert torch.allclose(loss([student], [teacher]), loss(pooled[:1], pooled[1:]))
