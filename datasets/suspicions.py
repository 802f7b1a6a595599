"""Checks for likely mistakes in data sets whose files can all be read."""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from command_line.notes import note
from datasets.alignment import best_shift, misplaced
from datasets.base import SegmentationDataset
from datasets.class_names import BACKGROUND_NAMES, VOID_NAMES, plant_ids
from datasets.class_statistics import count_pixels
from datasets.reading import read_image
from datasets.series import series_of

BINARY_ADVICE = (
    "labels hold only 0 and 255, and 255 is `do not count`: a binary mask? "
    "`python datasets/prepare.py import --classes 0=soil,255=plant` makes classes of it"
)
ALL_VOID = "no pixel of any class: all labels are 255, `do not count`; are these the labels?"
LOOKED_AT = 32  # images per split checked for alignment before training
COUNTED = 500  # labels per split counted before training: a second or two
COMPARED = 24  # pairs of neighbouring frames that are compared
# How much more neighbouring frames of a drive correlate than distant ones.
ALIKE = 0.15
CLOSE = 40  # largest difference of the numbers of neighbouring frames


def names_in_doubt(classes: Sequence[str]) -> list[str]:
    """Report classes named like void, duplicate backgrounds, and spelling variants of one name."""
    plain = [unicodedata.normalize("NFKC", name).casefold().strip() for name in classes]
    told = [
        f"class {name!r} is trained as a class: pixels that do not count are 255 in the labels; "
        "`prepare.py import --ignore` makes them so"
        for name, key in zip(classes, plain, strict=True)
        if key in VOID_NAMES
    ]
    grounds = [n for n, key in zip(classes, plain, strict=True) if key in BACKGROUND_NAMES]
    if len(grounds) > 1:
        told.append(f"background is a class {len(grounds)} times: {', '.join(grounds)}; merge them")
    same = [name for name, key in zip(classes, plain, strict=True) if plain.count(key) > 1]
    if same and set(same) != set(grounds):
        told.append(f"classes {', '.join(map(repr, same))} differ in spelling only; merge them")
    return told


def is_binary(pixels: Tensor, void: int) -> bool:
    """Whether labels contain 0 and 255 only, by pixels per class, int64 (K,), and of void."""
    return bool(pixels[0] > 0) and not pixels[1:].any() and void > 0


def faint_images(paths: Sequence[Path]) -> list[str]:
    """Report images for which `datasets.reading.is_faint` is true."""
    if not paths:
        return []
    return [
        "16-bit images that use less than a sixteenth of their range (12 bits or fewer) are read "
        f"almost black: {len(paths)}, such as {paths[0]}; export them with 8 bits, or shift their "
        "values up"
    ]


class NothingLabelledError(ValueError):
    """Raised if the labels have no pixel to learn from."""


def note_first_look(datasets: Mapping[str, SegmentationDataset]) -> None:
    """Print the findings of `first_look` as notes; damaged files are left for training to report.

    Raises:
        NothingLabelledError: see `first_look`.
    """
    try:
        told = first_look(datasets)
    except NothingLabelledError:
        raise
    except (ValueError, OSError):
        return
    for line in told:
        note(f"{line}. `python datasets/prepare.py check` reads all of the data")


def first_look(datasets: Mapping[str, SegmentationDataset]) -> list[str]:
    """Report problems found in a sample of the images and labels of the first split, train.

    `prepare.py check` reads all of them; this takes a few seconds, whatever the data set's size.

    Args:
        datasets: train first, then the others, by split.

    Raises:
        NothingLabelledError: the labels of train are only void, or only 0 and void.
        ValueError, OSError: a file is damaged.
    """
    split, train = next(iter(datasets.items()))
    told = names_in_doubt(train.classes)
    step = max(1, len(train) // LOOKED_AT)
    plants, odd = plant_ids(train.classes), []
    for index in range(0, len(train), step):
        image, label = train.read(index)
        if plants and (reason := misplaced(image, label, plants)):
            odd.append(f"{train.pairs[index][1]}: {reason}")
    if odd:
        told.append(f"{odd[0]} (so do {len(odd) - 1} more of {-(-len(train) // step)} looked at)")
    every = max(1, len(train) // COUNTED)
    pixels, void = torch.zeros(train.num_classes, dtype=torch.int64), 0
    for index in range(0, len(train), every):
        label = train.read_label(train.pairs[index][1])
        counts = count_pixels(label, train.num_classes)
        pixels += counts
        void += label.numel() - int(counts.sum())
    if is_binary(pixels, void):
        raise NothingLabelledError(f"{train.root}: {split}: {BINARY_ADVICE}")
    if not pixels.any():
        raise NothingLabelledError(f"{train.root}: {split}: {ALL_VOID}")
    absent = [name for name, count in zip(train.classes, pixels, strict=True) if not count]
    if every == 1 and absent:
        told.append(f"no pixel of {', '.join(absent)} in {split}: a network cannot learn them")
    pairs = {name: dataset.pairs for name, dataset in datasets.items()}
    return told + shared_images(pairs) + split_drives(pairs)


def shared_images(pairs: Mapping[str, Sequence[tuple[Path, Path]]]) -> list[str]:
    """Report images that are in two splits; `pairs` has image and label files by split."""
    images = {split: {image for image, _ in members} for split, members in pairs.items()}
    told = []
    for one, other in combinations(images, 2):
        if both := sorted(images[one] & images[other]):
            more = f", as are {len(both) - 1} more images" if len(both) > 1 else ""
            told.append(
                f"{both[0]}: is in {one} and {other} at once{more}: scores on it would be too "
                "good; take it out of one list"
            )
    return told


def split_drives(pairs: Mapping[str, Sequence[tuple[Path, Path]]]) -> list[str]:
    """Report splits whose images are frames of the same drives as those of the first split.

    Candidate neighbours are found by frame number and confirmed by similarity: a frame is more
    similar to the next one than to a distant one of the same series. If a split has few
    candidates, only the names of shared series are reported.

    Args:
        pairs: image and label files by split; the first split is train.
    """
    (first, train), *others = pairs.items()
    numbered: dict[str, list[tuple[int, Path]]] = {}
    for path, _ in train:
        if found := series_of(path.with_suffix("").as_posix()):
            numbered.setdefault(found[0], []).append((found[1], path))
    told = []
    for split, members in others:
        near = [hit for path, _ in members if (hit := _neighbours(path, numbered))]
        if len(near) < max(2, len(members) // 5):
            told += _shared_series(first, split, members, numbered)
            continue
        step = max(1, len(near) // COMPARED)
        gains = [_likeness(one, close) - _likeness(one, far) for one, close, far in near[::step]]
        if np.median(gains) > ALIKE:
            one, close, _ = near[0]
            told.append(
                f"{len(near)} of {len(members)} images of {split} are next to frames of {first} in "
                f"one drive, such as {one.name} and {close.name}: scores on them are too good; "
                "deal with `prepare.py split --by-folder`"
            )
    return told


def _shared_series(
    first: str,
    split: str,
    members: Sequence[tuple[Path, Path]],
    numbered: Mapping[str, list[tuple[int, Path]]],
) -> list[str]:
    """Report the series that a split shares with train, if train has several."""
    if sum(len(series) > 1 for series in numbered.values()) < 2:  # all names share one prefix
        return []
    found = (series_of(path.with_suffix("").as_posix()) for path, _ in members)
    both = sorted(
        {series[0] for series in found if series and len(numbered.get(series[0], ())) > 1}
    )
    if not both:
        return []
    names = ", ".join(Path(name).name or name for name in both[:3])
    return [
        f"numbered names of {len(both)} series ({names}) are in {first} and in {split}: if one of "
        "them is a drive, deal with `prepare.py split --by-folder`"
    ]


def _neighbours(
    path: Path, numbered: Mapping[str, list[tuple[int, Path]]]
) -> tuple[Path, Path, Path] | None:
    """Return `path` and the closest and farthest frame of its series; None if none is close."""
    found = series_of(path.with_suffix("").as_posix())
    series = numbered.get(found[0], []) if found else []
    if found is None or len(series) < 4:
        return None
    ordered = sorted(series, key=lambda member: abs(member[0] - found[1]))
    if abs(ordered[0][0] - found[1]) > CLOSE:
        return None
    return path, ordered[0][1], ordered[-1][1]


def _likeness(one: Path, other: Path) -> float:
    """Correlate two downscaled photographs at the best cyclic shift: -1 to 1."""
    thumbs = []
    for path in (one, other):
        grey = cv2.cvtColor(read_image(path).permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
        thumbs.append(cv2.resize(grey, (64, 48), interpolation=cv2.INTER_AREA).astype(np.float64))
    return best_shift(*thumbs)[1]
