import numpy as np
import pytest
import torch

from losses.boundary_privileged import BoundaryPrivilegedLoss


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def test_value_by_hand():
    """One row of six pixels, three of each class: the two in the middle are the band of both."""
    student, teacher = np.random.RandomState(0).randn(2, 2, 6)
    p_s, p_t = softmax(student, 0), softmax(teacher, 0)
    per_pixel = (p_t * np.log(p_t / p_s)).sum(0)
    edge = per_pixel[2:4].mean()
    bodies = []
    for k, pixels in ((0, slice(0, 2)), (1, slice(4, 6))):
        q_s, q_t = softmax(student[k, pixels], 0), softmax(teacher[k, pixels], 0)
        bodies.append((q_t * np.log(q_t / q_s)).sum())
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1]]], dtype=torch.uint8)
    maps = [torch.tensor(x).reshape(1, 2, 1, 6) for x in (student, teacher)]
    value = BoundaryPrivilegedLoss(body_weight=2.0)([maps[0]], [maps[1]], labels)
    assert value.item() == pytest.approx(edge + 2 * np.mean(bodies), rel=1e-5)


def test_the_edge_of_void_is_no_border():
    student, teacher = torch.randn(2, 1, 2, 4, 8)
    labels = torch.zeros(1, 4, 8, dtype=torch.uint8)
    labels[..., 4:] = 255
    loss = BoundaryPrivilegedLoss(body_weight=0.0)
    assert loss([student], [teacher], labels).item() == 0
    cut = [x[..., :4] for x in (student, teacher)]
    whole = BoundaryPrivilegedLoss()
    torch.testing.assert_close(
        whole([student], [teacher], labels), whole(cut[:1], cut[1:], labels[..., :4])
    )


def test_an_image_of_one_class_has_no_band():
    student, teacher = torch.randn(2, 1, 2, 4, 4)
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    value = BoundaryPrivilegedLoss(body_weight=0.0)([student], [teacher], labels)
    assert value.item() == 0
