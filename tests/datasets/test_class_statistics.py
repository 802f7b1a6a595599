import math

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from datasets import build_dataset
from datasets.class_statistics import class_frequencies, class_weights, count_pixels
from datasets.synthetic import Synthetic


def test_pixels_are_counted_without_void():
    label = torch.tensor([[0, 1, 1], [255, 2, 255]], dtype=torch.uint8)
    assert count_pixels(label, 4).tolist() == [1, 2, 1, 0]


def test_frequencies_are_shares_of_labelled_pixels(make_voc, write_png):
    root = make_voc(train=["a", "b"])
    values = np.full((24, 32), 255, np.uint8)
    values[:12, :16] = 0  # 192 of 768
    write_png(root / "SegmentationClass" / "a.png", values)  # b is all 1: 768
    dataset = build_dataset("VOC", root, "train", classes="soil,crop,weed")
    assert class_frequencies(dataset).tolist() == [0.2, 0.8, 0.0]
    assert class_frequencies(Subset(dataset, [1])).tolist() == [0.0, 1.0, 0.0]


def test_frequencies_of_drawn_fields():
    dataset = Synthetic(size=(48, 48), count=2)
    labels = torch.stack([dataset[i]["label"] for i in range(2)])
    expected = torch.bincount(labels.flatten(), minlength=3) / labels.numel()
    assert torch.allclose(class_frequencies(dataset), expected.double())


def test_all_void_is_an_error_that_names_the_split(make_voc):
    dataset = build_dataset("VOC", make_voc(value=255, train=["a"]), "train")
    with pytest.raises(ValueError, match="'train' has no labelled pixel"):
        class_frequencies(dataset)


def test_weights_follow_the_formula():
    weights = class_weights(torch.tensor([0.9, 0.08, 0.02]))
    raw = [1 / math.log(1.02 + p) for p in (0.9, 0.08, 0.02)]
    assert weights.tolist() == pytest.approx([w * 3 / sum(raw) for w in raw], rel=1e-5)
    assert weights.mean().item() == pytest.approx(1)


def test_a_class_that_never_occurs_weighs_one_and_changes_no_other():
    three, four = (class_weights(torch.tensor(f)) for f in ([0.7, 0.3], [0.7, 0.3, 0.0]))
    assert four.tolist() == pytest.approx([*three.tolist(), 1.0])


@pytest.mark.parametrize("wrong", [[0.0, 0.0], [-0.1, 1.1], [float("nan"), 1.0]])
def test_weights_of_no_frequencies_are_refused(wrong):
    with pytest.raises(ValueError, match="class frequencies"):
        class_weights(torch.tensor(wrong))
