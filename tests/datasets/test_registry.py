"""What every data set must do, whatever its folders are called."""

import pytest

from datasets import DATASETS, build_dataset, find_dataset
from datasets.base import SegmentationDataset

each_dataset = pytest.mark.parametrize("name", DATASETS)


@each_dataset
def test_declaration(name):
    dataset = find_dataset(name.upper())
    assert issubclass(dataset, SegmentationDataset)
    assert dataset.name == name
    assert {dataset.default_train_split, dataset.default_val_split} <= set(dataset.splits)
    assert len(set(dataset.classes)) == len(dataset.classes)
    if dataset.classes:
        assert len(dataset.palette) == len(dataset.classes)
        assert len(set(dataset.palette)) == len(dataset.palette)
        ids = {*(dataset.label_ids or {}).values(), *(dataset.label_colours or {}).values()}
        assert ids <= {*range(len(dataset.classes)), 255}


@each_dataset
def test_mistakes_are_told(name, tmp_path):
    own = {} if DATASETS[name].classes else {"classes": [f"class {index}" for index in range(8)]}
    (tmp_path / "empty").mkdir()
    for split in (DATASETS[name].default_train_split, DATASETS[name].default_val_split):
        with pytest.raises(FileNotFoundError, match=r"nowhere.*--datadir"):
            build_dataset(name, tmp_path / "nowhere", split, **own)
        with pytest.raises(FileNotFoundError, match="empty"):
            build_dataset(name, tmp_path / "empty", split, **own)
    with pytest.raises(ValueError, match="--datadir|has no split 'trian'"):
        build_dataset(name, None, "trian", **own)
    with pytest.raises(ValueError, match="--classes"):
        build_dataset(name, tmp_path / "empty", "val", classes=["soil"])


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown data set 'VOCC'; known: VOC, Cityscapes"):
        build_dataset("VOCC", ".", "train")
