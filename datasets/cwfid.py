"""Crop/Weed Field Image Dataset: 60 images of carrots and weeds, 1296 x 966."""

from pathlib import Path
from typing import ClassVar

from command_line.documents import read_yaml
from datasets.base import (
    PLANT_CLASSES,
    PLANT_PALETTE,
    Pairs,
    SegmentationDataset,
    index_by_stem,
    pair,
)

# Image 28 is in both of the published lists. It is kept in the test list only, so that no test
# image is trained on and results stay comparable with those on the published test list.
TEST_ONLY = 28
VAL_EVERY, VAL_FIRST = 5, 2


class CWFID(SegmentationDataset):
    """Haug and Ostermann, A Crop/Weed Field Image Dataset for the Evaluation of Computer Vision
    Based Precision Agriculture Tasks, ECCV Workshops 2014.

    `train` (39) and `test` (21) are the published lists, except that image 28 is in `test` only.
    `fit` (31) and `val` (8) partition `train` and are the default, so that model selection does
    not use the test images.
    """

    name = "CWFID"
    classes = PLANT_CLASSES
    palette = PLANT_PALETTE
    splits = ("train", "test", "fit", "val")
    default_train_split: ClassVar[str] = "fit"
    label_colours = {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2}

    def list_pairs(self) -> Pairs:
        """Pair `images/NNN_image.png` with `annotations/NNN_annotation.png`, for the split."""
        folder = self.root / "annotations"
        images = index_by_stem(self.root / "images", "_image")
        files = pair(images, index_by_stem(folder, "_annotation"), folder)
        by_key = dict(zip(images, files, strict=True))
        numbers = read_numbers(self.root / "train_test_split.yaml", self.split)
        missing = next((n for n in numbers if f"{n:03d}" not in by_key), None)
        if missing is not None:
            wanted = self.root / "images" / f"{missing:03d}_image.png"
            raise FileNotFoundError(f"{wanted}: no such image; train_test_split.yaml names it")
        return [by_key[f"{number:03d}"] for number in numbers]


def read_numbers(path: Path, split: str) -> list[int]:
    """Read the image numbers of a split.

    Raises:
        FileNotFoundError: the split file is missing.
        ValueError: it does not contain the two lists.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it is part of the published data set")
    lists = read_yaml(path)
    try:
        train = [int(n) for n in lists["train"] if int(n) != TEST_ONLY]
        test = [int(n) for n in lists["test"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected two lists of numbers, train and test") from error
    val = train[VAL_FIRST::VAL_EVERY]
    fit = [number for number in train if number not in val]
    return {"train": train, "test": test, "fit": fit, "val": val}[split]
