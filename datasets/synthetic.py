"""Synthetic crop fields: a data set of any size that needs no download."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from datasets.base import Pairs
from datasets.drawing.world import draw_world
from datasets.fields import draw_field
from datasets.sugar_beets import SugarBeets
from datasets.voc import VocLayout

SPLITS = ("train", "val", "test")


def draw_beet(
    rng: np.random.Generator, height: int, width: int, without: Collection[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a field of beets; `without` is ignored, as it has none of those kinds of variation."""
    return draw_field(rng, height, width)


def draw_mixed(
    rng: np.random.Generator, height: int, width: int, without: Collection[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a field of either variety, beet with probability 1/3."""
    draw = draw_beet if rng.uniform() < 1 / 3 else draw_world
    return draw(rng, height, width, without)


VARIETIES: dict[str, Callable] = {"beet": draw_beet, "world": draw_world, "mixed": draw_mixed}


class Synthetic(VocLayout):
    """Rows of beet rosettes among grasses and broad-leaved weeds, see `datasets/fields.py`; with
    variety "world", crops and weeds of all kinds, see `datasets/drawing/world.py`; with variety
    "mixed", both.

    Without a root, fields are drawn on the fly; image i of a split depends only on (seed, split,
    i), the size and the variety. With a root, the folder written by `python datasets/prepare.py
    synthetic` is read, which is several times faster than drawing.

    Args:
        root: a folder in VOC layout, or None to draw.
        split: train, val or test; they have no field in common.
        transform: as in `SegmentationDataset`.
        classes: as in `SegmentationDataset`.
        size: (height, width) of drawn fields; `default_size` if None.
        count: number of drawn fields in this split; that of `default_counts` if None.
        seed: of drawn fields.
        variety: of drawn fields, one of `VARIETIES`.

    Raises:
        ValueError: unknown split or variety, a size below 32 pixels, a count below 1, or a
            negative seed.
        FileNotFoundError: the root is not in VOC layout or lacks the split.
    """

    name = "Synthetic"
    classes = SugarBeets.classes
    palette = SugarBeets.palette
    splits: tuple[str, ...] = SPLITS
    default_size: ClassVar[tuple[int, int]] = (256, 256)
    default_counts: ClassVar[dict[str, int]] = {"train": 240, "val": 60, "test": 60}

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        transform: Callable | None = None,
        classes: str | Sequence[str] | None = None,
        *,
        size: tuple[int, int] | None = None,
        count: int | None = None,
        seed: int = 0,
        variety: str = "beet",
    ) -> None:
        self.drawn = root is None
        self.size = size or self.default_size
        self.count = count
        self.seed = seed
        self.variety = variety
        super().__init__("synthetic" if self.drawn else root, split, transform, classes)

    def check_split(self) -> None:
        """Check the drawing parameters or, with a root, that the folder has the split."""
        if not self.drawn:
            super().check_split()
            return
        if self.split not in SPLITS:
            raise ValueError(f"{self.name} has no split {self.split!r}; known: {', '.join(SPLITS)}")
        if self.variety not in VARIETIES:
            known = ", ".join(VARIETIES)
            raise ValueError(f"{self.name} has no variety {self.variety!r}; known: {known}")
        if self.count is None:
            self.count = self.default_counts[self.split]
        check_drawing(self.size, self.count, self.seed)

    def list_pairs(self) -> Pairs:
        """List the files; for drawn fields, the paths that they would have."""
        if not self.drawn:
            return super().list_pairs()
        assert self.count is not None
        stems = [field_stem(self.split, index) for index in range(self.count)]
        return [(self.root / f"{stem}.jpg", self.root / f"{stem}.png") for stem in stems]

    def draw(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw a field: image, uint8 (3, H, W), and label, uint8 (H, W)."""
        image, label = draw_sample(self.seed, self.split, index, self.size, self.variety)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw or read a sample; see `SegmentationDataset.read`."""
        return self.draw(index) if self.drawn else super().read(index)

    def read_label(self, path: Path) -> Tensor:
        """Draw or read the label of one of `self.pairs`."""
        if not self.drawn:
            return super().read_label(path)
        return self.read(int(path.stem.rpartition("_")[2]))[1]


def field_stem(split: str, index: int) -> str:
    """Name a field: `train_00012`."""
    return f"{split}_{index:05d}"


def draw_sample(
    seed: int,
    split: str,
    index: int,
    size: tuple[int, int],
    variety: str = "beet",
    without: Collection[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Draw field `index` of a split: image, uint8 (H, W, 3), and label, uint8 (H, W).

    `without` lists kinds of variation to leave out, see `datasets.drawing.world.KINDS`.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    return VARIETIES[variety](rng, *size, without)


def check_drawing(size: tuple[int, int], count: int, seed: int) -> None:
    """Raise if fields of this size, count and seed cannot be drawn."""
    if min(size) < 32:
        raise ValueError(f"--size {size[0]}x{size[1]}: at least 32x32 (height x width)")
    if count < 1:
        raise ValueError(f"--count {count}: at least 1")
    if seed < 0:
        raise ValueError(f"--seed {seed}: not negative")
