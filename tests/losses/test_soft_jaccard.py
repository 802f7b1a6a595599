import numpy as np
import pytest
import torch

from losses.soft_jaccard import SoftJaccardLoss


def test_value_by_hand():
    p = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])  # three pixels, two classes
    p_t = np.array([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    label = np.array([0, 0, 1])
    target = (np.eye(2)[label] + p_t) / 2
    losses = []
    for k in range(2):
        a, b = p[:, k], target[:, k]
        tp = (a.sum() + b.sum() - abs(a - b).sum()) / 2
        losses.append(1 - (tp + 1) / (a.sum() + b.sum() - tp + 1))
    student, teacher = (torch.tensor(np.log(x).T).reshape(1, 2, 1, 3) for x in (p, p_t))
    labels = torch.tensor(label, dtype=torch.uint8).reshape(1, 1, 3)
    value = SoftJaccardLoss()([student], [teacher], labels)
    assert value.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_zero_where_label_teacher_and_student_agree():
    labels = torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    logits = 40.0 * torch.nn.functional.one_hot(labels.long(), 3).permute(0, 3, 1, 2)
    assert SoftJaccardLoss()([logits], [logits], labels).item() == pytest.approx(0, abs=1e-6)


def test_without_labels_the_teacher_is_the_target():
    logits = torch.randn(1, 3, 6, 6)
    assert SoftJaccardLoss()([logits], [logits]).item() == pytest.approx(0, abs=1e-6)


def test_logits_are_compared_at_the_size_of_the_labels():
    student, teacher = torch.randn(2, 2, 3, 6, 8)
    labels = torch.randint(0, 3, (2, 24, 32), dtype=torch.uint8)
    large = [
        torch.nn.functional.interpolate(x, (24, 32), mode="bilinear") for x in (student, teacher)
    ]
    loss = SoftJaccardLoss()
    torch.testing.assert_close(
        loss([student], [teacher], labels), loss([large[0]], [large[1]], labels)
    )


def test_a_leaf_between_the_cells_of_the_logits_counts():
    logits = torch.zeros(1, 2, 4, 4)
    soil = torch.zeros(1, 16, 16, dtype=torch.uint8)
    leaf = soil.clone()
    leaf[:, :, 4] = 1  # the middles of cells are at 1.5, 5.5, 9.5 and 13.5
    without, with_leaf = (SoftJaccardLoss()([logits], [logits], labels) for labels in (soil, leaf))
    assert without.item() != pytest.approx(with_leaf.item(), abs=1e-3)


def test_unlabelled_pixels_have_the_teacher_as_target():
    logits = torch.randn(1, 3, 6, 6)
    labels = torch.full((1, 6, 6), 254, dtype=torch.uint8)
    assert SoftJaccardLoss()([logits], [logits], labels).item() == pytest.approx(0, abs=1e-6)
