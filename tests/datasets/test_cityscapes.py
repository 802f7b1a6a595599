import numpy as np
import pytest

from datasets import build_dataset
from datasets.cityscapes import LABEL_ID_TO_TRAIN, Cityscapes

STEM = "aachen_000000_000019"


@pytest.fixture
def write(tmp_path, write_pair):
    def write(kind: str, values: np.ndarray) -> None:
        write_pair(
            tmp_path / "leftImg8bit" / "train" / "aachen" / f"{STEM}_leftImg8bit.png",
            tmp_path / "gtFine" / "train" / "aachen" / f"{STEM}_gtFine_{kind}.png",
            values,
        )
        return tmp_path

    return write


def columns(values) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (24, 32))


def test_the_published_table():
    helper = pytest.importorskip("cityscapesscripts.helpers.labels")
    evaluated = [label for label in helper.labels if 0 <= label.trainId < 255]
    evaluated.sort(key=lambda label: label.trainId)
    assert Cityscapes.classes == tuple(label.name for label in evaluated)
    assert Cityscapes.palette == tuple(label.color for label in evaluated)
    assert {label.id: label.trainId for label in helper.labels if label.id >= 0} == {
        **LABEL_ID_TO_TRAIN
    }


def test_label_ids_become_train_ids(write):
    values = columns(range(34))
    dataset = build_dataset("Cityscapes", write("labelIds", values), "train")
    expected = np.vectorize(LABEL_ID_TO_TRAIN.get)(values)
    assert np.array_equal(dataset[0]["label"], expected)
    assert dataset[0]["name"] == f"{STEM}_leftImg8bit"


def test_train_ids_come_first_and_stay(write):
    write("labelIds", columns([7]))
    values = columns([*range(19), 255])
    dataset = build_dataset("Cityscapes", write("labelTrainIds", values), "train")
    assert np.array_equal(dataset[0]["label"], values)


def test_ids_under_the_wrong_name_are_recognised(write):
    dataset = build_dataset("Cityscapes", write("labelTrainIds", columns([7, 23, 26])), "train")
    with pytest.raises(ValueError, match="23 .*look like labelIds"):
        dataset[0]


def test_train_ids_named_label_ids_are_recognised(write):
    dataset = build_dataset("Cityscapes", write("labelIds", columns([0, 18, 255])), "train")
    with pytest.raises(ValueError, match="255 .*look like trainIds"):
        dataset[0]


def test_image_without_label(write, tmp_path):
    root = write("labelIds", columns([7]))
    next(root.rglob("*_labelIds.png")).unlink()
    with pytest.raises(FileNotFoundError, match=f"{STEM}_leftImg8bit.png: image without a label"):
        build_dataset("Cityscapes", root, "train")


def test_missing_split_folder(write):
    with pytest.raises(FileNotFoundError, match=r"leftImg8bit.val: no such directory"):
        build_dataset("Cityscapes", write("labelIds", columns([7])), "val")
