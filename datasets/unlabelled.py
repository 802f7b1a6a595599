"""Unlabelled photographs, on which a student can still learn from a teacher's predictions."""

from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from conventions.labels import UNLABELLED
from datasets.base import IMAGE_SUFFIXES
from datasets.files import files_below
from datasets.reading import read_image

READ_AT_ONCE = 1 << 20  # bytes


class Photographs(Dataset):
    """Images from files; `dataset[i]` is `{"image": uint8 (3, H, W) RGB, "name": str}`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        return {"image": read_image(self.paths[index]), "name": self.paths[index].stem}


class Unlabelled(Dataset):
    """Images used without their labels, if they have any.

    `dataset[i]` has the format of a `SegmentationDataset`; its label is `UNLABELLED`, and void
    where the transform pads the image.

    Args:
        images: samples with "image", uint8 (3, H, W), and "name".
        transform: joint transform of image and label, uint8 (3, H, W) and (H, W).
    """

    def __init__(
        self, images: Dataset, transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(cast(Sized, self.images))

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        sample = self.images[index]
        label = torch.full(sample["image"].shape[1:], UNLABELLED, dtype=torch.uint8)
        image, label = self.transform(sample["image"], label)
        return {"image": image, "label": label, "name": sample["name"]}


def find_photographs(folder: Path, held_out: Sequence[Path]) -> list[Path]:
    """List the images in a folder and its sub-folders, sorted; each file's header is checked.

    Args:
        folder: of the photographs.
        held_out: validation and test images, which must not be among them, nor copies of them.

    Raises:
        FileNotFoundError: the folder does not exist or has no image in it.
        ValueError: a file is not an image, or is a held-out one.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"--unlabelled {folder}: no such folder")
    paths = sorted(path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise FileNotFoundError(
            f"--unlabelled {folder}: no image in it ({', '.join(IMAGE_SUFFIXES)})"
        )
    sizes: dict[int, list[Path]] = {}
    for path in held_out:
        if path.is_file():  # drawn images have no file
            sizes.setdefault(path.stat().st_size, []).append(path)
    for path in paths:
        _check_header(path)
        for other in sizes.get(path.stat().st_size, ()):
            if _same_content(path, other):
                raise ValueError(
                    f"--unlabelled {folder}: {path} is {other}, which the run is validated or "
                    "tested on: take it out of the folder"
                )
    return paths


def _check_header(path: Path) -> None:
    try:
        with Image.open(path):
            pass
    except (OSError, Image.DecompressionBombError):
        raise ValueError(
            f"--unlabelled: {path} is damaged or no image: take it out of the folder"
        ) from None


def _same_content(one: Path, other: Path) -> bool:
    """Whether two files of equal size have the same content."""
    if one.samefile(other):
        return True
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(READ_AT_ONCE):
            if block != second.read(READ_AT_ONCE):
                return False
    return True
