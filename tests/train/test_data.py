"""Images that are both trained on and scored are noted, once, before training."""

from pathlib import Path

import pytest
import yaml
from accelerate import Accelerator

from train.arguments import parse_options
from train.data import build_data
from train.run import Run


@pytest.fixture
def cwfid(tmp_path):
    """Empty files in the layout of CWFID: 10 in train, of which 8 are in fit and 2 in val."""
    numbers = {"train": list(range(1, 11)), "test": [11, 12]}
    for kind in ("image", "annotation"):
        folder = tmp_path / f"{kind}s"
        folder.mkdir()
        for number in range(1, 13):
            (folder / f"{number:03d}_{kind}.png").touch()
    (tmp_path / "train_test_split.yaml").write_text(yaml.safe_dump(numbers))
    return tmp_path


@pytest.fixture
def notes(capfd):
    """`notes(stage, *flags)`: the notes that reading the splits prints."""

    def told(stage, *flags):
        options = parse_options(stage, [*map(str, flags), "--batch-size", "2", "--device", "cpu"])
        build_data(Run(options, Accelerator(cpu=True), Path()))
        printed = capfd.readouterr()
        lines = (printed.out + printed.err).splitlines()
        return [line for line in lines if line.startswith("note: ")]

    return told


@pytest.mark.parametrize(
    ("flags", "shared"),
    [
        ((), None),
        (("--train-split", "fit"), None),
        (("--train-split", "train"), "2 of 2 images of 'val'"),
        (("--train-split", "train", "--limit-val", "1"), "1 of 1 images of 'val'"),
        (("--train-split", "train", "--limit-train", "2"), None),
        (("--train-split", "train", "--limit-train", "3"), "1 of 2 images of 'val'"),
        (("--train-split", "train", "--iouVal", "false"), None),
        (("--val-split", "fit"), "8 of 8 images of 'fit'"),
    ],
)
def test_validation_images_that_are_trained_on_are_noted(flags, shared, cwfid, notes):
    told = notes("student", "--dataset", "CWFID", "--datadir", cwfid, *flags)
    remedy = "take --train-split fit --val-split val, or --iouVal false and report last.pth"
    line = f"note: {shared} are trained on, and best.pth is chosen on them: {remedy}"
    assert told == ([] if shared is None else [line])


def test_unlabelled_images_of_the_training_split_are_trained_on_too(cwfid, notes):
    flags = ("--dataset", "CWFID", "--datadir", cwfid, "--limit-train", "2", "--unlabelled", "rest")
    assert notes("sekd", *flags) == []
    (told,) = notes("sekd", *flags, "--train-split", "train")
    assert told.startswith("note: 2 of 2 images of 'val' are trained on, and best.pth")


def test_test_images_that_are_trained_on_are_noted(cwfid, notes):
    flags = ("--dataset", "CWFID", "--datadir", cwfid, "--test-split")
    assert notes("student", *flags, "test") == []
    (told,) = notes("student", *flags, "train")
    assert told == (
        "note: 8 of 10 images of 'train' are trained on: the score of --test-split train will be "
        "too good; take a split that shares no image with 'fit'"
    )


def test_shared_images_of_own_data_are_noted_once(write_voc, tmp_path, notes):
    root = write_voc(tmp_path / "fields")
    lists = root / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("field00\nfield07")
    flags = ("--dataset", "VOC", "--datadir", root, "--classes", "soil,crop,weed")
    (told,) = (line for line in notes("student", *flags) if "field00" in line or "best" in line)
    assert "is in train and val at once" in told
    (told,) = (line for line in notes("student", *flags, "--val-split", "train") if "best" in line)
    assert told.startswith("note: 6 of 6 images of 'train' are trained on")
