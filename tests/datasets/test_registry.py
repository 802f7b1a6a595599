import pytest

from datasets import DATASETS, build_dataset, find_dataset
from datasets.base import SegmentationDataset


@pytest.mark.parametrize("name", DATASETS)
def test_declaration(name):
    dataset = find_dataset(name.upper())
    assert issubclass(dataset, SegmentationDataset)
    assert dataset.name == name
    assert {dataset.default_train_split, dataset.default_val_split} <= set(dataset.splits)
    assert len(set(dataset.classes)) == len(dataset.classes)
    if dataset.classes:
        assert len(dataset.palette) == len(dataset.classes)
        assert len(set(dataset.palette)) == len(dataset.palette)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown data set 'VOCC'; known: VOC, Cityscapes"):
        build_dataset("VOCC", ".", "train")
