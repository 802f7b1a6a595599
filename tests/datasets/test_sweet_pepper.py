import pytest

from datasets import build_dataset

NAMES = "background,red,yellow,green,mixed red,mixed yellow,stem,leaf"


def test_names_come_from_the_user(make_voc):
    dataset = build_dataset("SweetPepper", make_voc(value=7), "val", classes=NAMES)
    assert dataset.num_classes == len(dataset.palette) == 8
    assert dataset[0]["label"].unique().tolist() == [7]


def test_names_are_needed(make_voc):
    root = make_voc()
    with pytest.raises(ValueError, match="names are not published.*--classes"):
        build_dataset("SweetPepper", root, "train")
    with pytest.raises(ValueError, match="has 8 classes, 2 are named"):
        build_dataset("SweetPepper", root, "train", classes="a,b")
