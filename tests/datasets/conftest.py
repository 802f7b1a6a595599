"""Tiny data sets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = (24, 32)  # height, width


def write_png(path: Path, values: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def write_pair(image: Path, label: Path, values: np.ndarray | int = 1) -> None:
    """A random image, and a label of one value or of the given values."""
    label_values = np.full(SIZE, values, np.uint8) if np.isscalar(values) else values
    noise = np.random.default_rng(len(image.stem)).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    write_png(image, noise)
    write_png(label, label_values)


@pytest.fixture(name="write_png")
def write_png_fixture() -> Callable:
    return write_png


@pytest.fixture(name="write_pair")
def write_pair_fixture() -> Callable:
    return write_pair


@pytest.fixture
def make_voc(tmp_path) -> Callable[..., Path]:
    """`make_voc(train=["a"], val=["b"])`: a folder in VOC layout whose labels are all 1."""

    def make(root: Path = tmp_path / "VOC2012", value: int = 1, **splits: list[str]) -> Path:
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        for split, names in (splits or {"train": ["a", "b"], "val": ["c"]}).items():
            (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
            for name in names:
                write_pair(
                    root / "JPEGImages" / f"{name}.jpg",
                    root / "SegmentationClass" / f"{name}.png",
                    value,
                )
        return root

    return make
