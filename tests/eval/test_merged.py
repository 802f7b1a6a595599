"""Classes as one, counted by hand."""

import torch

from eval.merged import merged_ious

MATRIX = torch.tensor([[90, 2, 3, 0], [1, 4, 2, 0], [5, 1, 6, 0], [0, 0, 0, 0]])


def test_confusion_within_a_union_is_right():
    ious = merged_ious(MATRIX, {"vegetation": [1, 2], "all": [0, 1, 2]})
    assert ious == {"vegetation": 13 / (13 + 5 + 6), "all": 1.0}


def test_what_occurs_nowhere_has_no_score():
    matrix = MATRIX.clone()
    matrix[2] = matrix[:, 2] = 0
    assert merged_ious(matrix, {"rare": [2, 3]}) == {"rare": None}
