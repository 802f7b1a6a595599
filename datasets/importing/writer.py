"""Drawing the labels of a source and writing them in VOC layout."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from datasets.base import IMAGE_SUFFIXES
from datasets.importing.classes import Classes
from datasets.importing.mask_classes import read_ids
from datasets.importing.raster import paint
from datasets.importing.records import Sample, Source
from datasets.layout import write_label
from datasets.pools import in_threads
from datasets.reading import Colour, is_faint, map_colours, map_ids, read_image, tell_values

UNKNOWN_ADVICE = "name them with --classes, or leave them out with --ignore"


@dataclass
class Tally:
    """Statistics of a split: pixels and images per class id, image sizes, what is odd."""

    images: int = 0
    pixels: Counter = field(default_factory=Counter)
    images_with: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)  # (height, width)
    regions: Counter = field(default_factory=Counter)  # clipped, empty
    faint: list[Path] = field(default_factory=list)  # images, see `datasets.reading.is_faint`

    def add(self, label: np.ndarray, counts: Counter) -> None:
        """Add the label of an image, uint8 (H, W)."""
        found = np.bincount(label.ravel(), minlength=256)
        held = {int(index): int(found[index]) for index in np.flatnonzero(found)}
        self.images += 1
        self.pixels.update(held)
        self.images_with.update(dict.fromkeys(held, 1))
        self.sizes[label.shape] += 1
        self.regions.update(counts)


def draw(
    sample: Sample, source: Source, classes: Classes
) -> tuple[np.ndarray, np.ndarray, Counter]:
    """Read a sample's image, uint8 (H, W, 3) RGB, and draw its label, uint8 (H, W).

    Raises:
        ValueError: a file is damaged, image and label differ in size, or a mask has values or
            colours without a name.
    """
    image = read_image(sample.image).permute(1, 2, 0).numpy()
    size = image.shape[:2]
    if sample.size is not None and tuple(sample.size) != size:
        raise ValueError(_other_size(sample.label, sample.size, sample.image, size))
    if sample.regions is not None:
        return image, *paint(sample.regions, size, classes.ids, classes.unlabelled)
    if source.colours is not None:
        label = _colours_to_ids(sample.label, source.colours, classes)
    else:
        label = _values_to_ids(sample.label, classes.values)
    if label.shape != size:
        raise ValueError(_other_size(sample.label, label.shape, sample.image, size))
    return image, label, Counter()


def _other_size(label: Path, stated: Sequence[int], image: Path, size: Sequence[int]) -> str:
    turned = tuple(stated) == tuple(size[::-1])
    advice = "one of them is turned by 90 degrees" if turned else "use the image that was labelled"
    return (
        f"{label}: is for an image of {stated[1]} x {stated[0]}, but {image} has {size[1]} x "
        f"{size[0]} (width x height, EXIF orientation applied); {advice}"
    )


def _values_to_ids(path: Path, values: Mapping[int, int]) -> np.ndarray:
    found = read_ids(path)
    label, wrong = map_ids(found, values)
    if wrong.any():
        told = tell_values(found[wrong])
        if set(np.unique(found).tolist()) <= {0, 255}:
            told += " in a mask of 0 and 255 only, as in --classes 0=soil,255=plant"
        raise ValueError(f"{path}: values without a name: {told}; {UNKNOWN_ADVICE}")
    return label


def _colours_to_ids(path: Path, colours: Mapping[Colour, str], classes: Classes) -> np.ndarray:
    mask = read_image(path)
    label, wrong = map_colours(mask, {c: classes.ids[name] for c, name in colours.items()})
    if wrong.any():
        found, counts = np.unique(mask.numpy()[:, wrong].T, axis=0, return_counts=True)
        most = tuple(found[counts.argmax()].tolist())
        grey = len(set(most)) == 1
        ids = ", or, if these are class ids, pass --classes instead" if grey else ""
        raise ValueError(
            f"{path}: {int(wrong.sum())} px of {len(found)} colours without a name, such as "
            f"{','.join(map(str, most))}; name them with --colors (void=R,G,B leaves them out){ids}"
        )
    return label


def convert(
    source: Source,
    names: Sequence[str],
    splits: Mapping[str, Sequence[str]],
    classes: Classes,
    palette: Sequence[Colour],
    root: Path | None,
) -> dict[str, Tally]:
    """Draw all labels, and write images and labels below `root` unless it is None.

    Returns the statistics of each split.

    Raises:
        ValueError, OSError: see `draw`.
    """
    split_of = {name: split for split, members in splits.items() for name in members}
    tallies = {split: Tally() for split in splits}
    jobs = [
        partial(_convert_one, sample, name, source, classes, palette, root)
        for sample, name in zip(source.samples, names, strict=True)
    ]
    results = in_threads(jobs)
    bar = tqdm(results, "import", len(jobs), unit="img", disable=None)
    for sample, name, (label, counts, faint) in zip(source.samples, names, bar, strict=True):
        tally = tallies[split_of[name]]
        tally.add(label, counts)
        tally.faint += [sample.image] if faint else []
    return tallies


def _convert_one(
    sample: Sample,
    name: str,
    source: Source,
    classes: Classes,
    palette: Sequence[Colour],
    root: Path | None,
) -> tuple[np.ndarray, Counter, bool]:
    image, label, counts = draw(sample, source, classes)
    if root is not None:
        target = root / "JPEGImages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        suffix = sample.image.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            shutil.copyfile(sample.image, target.with_name(target.name + suffix))
        else:  # .bmp, .tif, .webp, which `SegmentationDataset` does not read
            data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
            target.with_name(f"{target.name}.png").write_bytes(data.tobytes())
        path = root / "SegmentationClass" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label(path, label, palette)
    return label, counts, is_faint(sample.image, image)
