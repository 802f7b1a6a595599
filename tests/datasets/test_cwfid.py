import numpy as np
import pytest
import yaml

from datasets import build_dataset
from datasets.cwfid import CWFID


@pytest.fixture
def root(tmp_path, write_png):
    """Eight images in the published layout; 28 is in both lists, as published."""
    lists = {"train": [1, 2, 3, 4, 5, 6, 28], "test": [7, 28]}
    (tmp_path / "train_test_split.yaml").write_text(yaml.safe_dump(lists))
    colours = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    for number in (*range(1, 8), 28):
        ids = np.full((6, 8), number % 3)
        write_png(tmp_path / "images" / f"{number:03d}_image.png", colours[ids])
        write_png(tmp_path / "annotations" / f"{number:03d}_annotation.png", colours[ids])
    return tmp_path


def numbers(dataset) -> list[int]:
    return [int(image.name[:3]) for image, _ in dataset.pairs]


def test_published_splits(cwfid_root):
    splits = {s: build_dataset("CWFID", cwfid_root, s) for s in ("train", "test", "fit", "val")}
    assert {s: len(d) for s, d in splits.items()} == {"train": 39, "test": 21, "fit": 31, "val": 8}
    train, test, fit, val = (set(numbers(d)) for d in splits.values())
    assert not train & test
    assert train | test == set(range(1, 61))
    assert 28 in test
    assert not fit & val
    assert fit | val == train


def test_no_test_image_chooses_a_model():
    assert (CWFID.default_train_split, CWFID.default_val_split) == ("fit", "val")


def test_published_annotation(cwfid_root):
    sample = build_dataset("CWFID", cwfid_root, "test")[0]
    assert sample["image"].shape == (3, 966, 1296)
    assert sample["label"].unique().tolist() == [0, 1, 2]
    assert sample["name"] == "001_image"
    green = sample["image"].float()[1] - sample["image"].float().mean(0)
    assert green[sample["label"] > 0].mean() > green[sample["label"] == 0].mean() + 5


def test_colours_become_ids(root):
    dataset = build_dataset("CWFID", root, "train")
    assert numbers(dataset) == [1, 2, 3, 4, 5, 6]
    assert [int(dataset[i]["label"].unique()) for i in range(3)] == [1, 2, 0]
    assert numbers(build_dataset("CWFID", root, "test")) == [7, 28]


def test_other_colours_are_told(root, write_png):
    mask = np.zeros((6, 8, 3), np.uint8)
    mask[0, :3] = 0, 0, 255
    write_png(root / "annotations" / "001_annotation.png", mask)
    with pytest.raises(
        ValueError, match=r"001_annotation\.png: 3 px .*\(0, 0, 255\); .*crop \(0, 255"
    ):
        build_dataset("CWFID", root, "train")[0]


def test_missing_files_are_named(root):
    (root / "images" / "003_image.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"003_annotation\.png: label without an image"):
        build_dataset("CWFID", root, "train")
    (root / "annotations" / "003_annotation.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"003_image\.png: no such image"):
        build_dataset("CWFID", root, "train")
    (root / "train_test_split.yaml").write_text("train: 3")
    with pytest.raises(ValueError, match=r"train_test_split\.yaml: expected two lists"):
        build_dataset("CWFID", root, "test")
    (root / "train_test_split.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_test_split\.yaml"):
        build_dataset("CWFID", root, "test")
