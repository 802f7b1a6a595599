"""Folders of photographs without labels, looked at before they are trained on."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from conventions.labels import UNLABELLED, VOID
from datasets.transforms import TrainTransform
from datasets.unlabelled import Photographs, Unlabelled, find_photographs


@pytest.fixture
def folder(tmp_path):
    """Three photographs, one of them in a sub-folder, and a note."""
    root = tmp_path / "photos"
    (root / "monday").mkdir(parents=True)
    for number, name in enumerate(("b.jpg", "a.png", "monday/c.JPG")):
        Image.fromarray(np.full((40, 60, 3), 50 * number, np.uint8)).save(root / name)
    (root / "notes.txt").write_text("sunny")
    return root


def test_images_of_all_sub_folders_are_found_in_a_fixed_order(folder):
    paths = find_photographs(folder, [])
    assert [path.relative_to(folder).as_posix() for path in paths] == [
        "a.png", "b.jpg", "monday/c.JPG"
    ]  # fmt: skip


@pytest.mark.parametrize("copied", [False, True], ids=["the file", "a copy"])
def test_an_image_that_is_tested_on_is_refused(folder, tmp_path, copied):
    held_out = folder / "b.jpg"
    if copied:
        held_out = tmp_path / "test_01.jpg"
        shutil.copy(folder / "b.jpg", held_out)
    with pytest.raises(ValueError, match="b.jpg is .*, which the run is validated or tested on"):
        find_photographs(folder, [held_out])


def test_a_file_that_is_no_image_is_named(folder):
    (folder / "z.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match="z.jpg is damaged or no image: take it out"):
        find_photographs(folder, [])


def test_a_folder_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="--unlabelled .*nowhere: no such folder"):
        find_photographs(tmp_path / "nowhere", [])
    with pytest.raises(FileNotFoundError, match="no image in it"):
        find_photographs(tmp_path, [])


def test_a_sample_has_no_class_and_a_border_that_is_void(folder):
    transform = TrainTransform(None, 64, scale_range=(1, 1), photometric=False)
    sample = Unlabelled(Photographs(find_photographs(folder, [])), transform)[1]
    assert sample["image"].shape == (3, 64, 64) and sample["label"].dtype == torch.uint8
    assert sample["label"].unique().tolist() == [UNLABELLED, VOID]
    assert (sample["label"] == UNLABELLED).sum() == 40 * 60
