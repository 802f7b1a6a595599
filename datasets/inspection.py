"""Reading every sample of a data set to find what is wrong with it."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from datasets.alignment import misplaced
from datasets.base import SegmentationDataset, parse_classes
from datasets.class_names import plant_ids
from datasets.class_statistics import count_pixels
from datasets.pools import in_threads
from datasets.reading import is_faint
from datasets.registry import build_dataset, find_dataset
from datasets.suspicions import (
    ALL_VOID,
    BINARY_ADVICE,
    is_binary,
    names_in_doubt,
    shared_images,
    split_drives,
)
from datasets.voc import SPLIT_FOLDER, MissingFilesError, VocLayout, find_voc_root


@dataclass
class SplitReport:
    """Contents of one split; `pixels` and `images_with` are counts per class, int64 (K,)."""

    split: str
    dataset: SegmentationDataset | None = None  # None: the split could not be opened
    absent: str = ""  # why an optional split is missing
    pixels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    images_with: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    void: int = 0  # pixels
    images_read: int = 0  # without a problem
    sizes: set[tuple[int, int]] = field(default_factory=set)  # (height, width)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # suspicious, but possibly correct
    faint: list[Path] = field(default_factory=list)  # images, see `datasets.reading.is_faint`

    @property
    def data(self) -> SegmentationDataset:
        """The data set; only for a split that could be opened."""
        assert self.dataset is not None
        return self.dataset


def inspect(
    name: str,
    root: Path | None,
    classes: str | None = None,
    splits: Sequence[str] | None = None,
    progress: bool = False,
) -> list[SplitReport]:
    """Read all samples of the given splits, by default of all that the data set has.

    Raises:
        ValueError: unknown data set or split, or an invalid class list.
        FileNotFoundError: the folder or the file of classes is missing, or the folder is not in
            the data set's layout.
    """
    kind = find_dataset(name)
    names = None if classes is None else parse_classes(classes)
    known = known_splits(kind, root)
    for split in splits or ():
        if split not in known:
            raise ValueError(
                f"--splits {split}: no such split; known: {', '.join(known) or 'none'}"
            )
    required = splits or (kind.default_train_split, kind.default_val_split)
    reports = []
    for split in splits or dict.fromkeys((*required, *known)):
        report = SplitReport(split)
        reports.append(report)
        try:
            report.dataset = build_dataset(name, root, split, classes=names)
        except FileNotFoundError as error:
            # A test split may be published without any labels, but not with only some of them.
            told = error.told if isinstance(error, MissingFilesError) else [str(error)]
            some = isinstance(error, MissingFilesError) and error.present
            if split in required or some:
                report.problems += told
            else:
                report.absent = str(error)
        else:
            inspect_samples(report, progress)
    _suspect(reports, {*required[:2], "test"})
    return reports


def _suspect(reports: Sequence[SplitReport], names: Collection[str]) -> None:
    """Record what is readable but likely wrong; findings across splits go to the first report."""
    opened = [report for report in reports if report.split in names and report.dataset]
    if not opened:
        return
    pairs = {report.split: report.data.pairs for report in opened}
    reports[0].problems += shared_images(pairs) + names_in_doubt(opened[0].data.classes)
    for report in opened:
        if is_binary(report.pixels, report.void):
            report.problems.append(BINARY_ADVICE)
        if report.images_read and not report.pixels.any():
            report.problems.append(ALL_VOID)
    pairs = {report.split: pairs[report.split] for report in opened if report.images_read}
    if len(pairs) > 1:
        with suppress(ValueError, OSError):  # a damaged file, already reported as a problem
            reports[0].notes += split_drives(pairs)


def known_splits(kind: type[SegmentationDataset], root: Path | None) -> list[str]:
    """List a data set's splits: those it declares or, in VOC layout, those with a list file."""
    if issubclass(kind, VocLayout) and root is not None:
        lists = find_voc_root(Path(root)) / SPLIT_FOLDER
        return sorted(path.stem for path in lists.glob("*.txt"))
    return list(kind.splits)


def unseen_classes(report: SplitReport) -> list[str]:
    """List the classes without a pixel in the split; none if no image could be read."""
    if not report.images_read:
        return []
    classes = report.data.classes
    return [name for name, count in zip(classes, report.pixels, strict=True) if not count]


def inspect_samples(report: SplitReport, progress: bool = False) -> None:
    """Read every sample of the report's data set; unreadable ones are recorded as problems."""
    dataset = report.data
    report.pixels = torch.zeros(dataset.num_classes, dtype=torch.int64)
    report.images_with = torch.zeros_like(report.pixels)

    plants = plant_ids(dataset.classes)

    def read(index: int) -> tuple[Tensor, int, tuple[int, int], str | None, bool] | str:
        try:
            image, label = dataset.read(index)
            faint = is_faint(dataset.pairs[index][0], image)
        except (ValueError, OSError) as error:
            return str(error)
        counts = count_pixels(label, dataset.num_classes)
        reason = misplaced(image, label, plants) if plants else None
        height, width = label.shape
        return counts, label.numel() - int(counts.sum()), (height, width), reason, faint

    results = in_threads([partial(read, index) for index in range(len(dataset))])
    bar = tqdm(results, report.split, len(dataset), unit="img", disable=not progress)
    for index, result in enumerate(bar):
        if isinstance(result, str):
            report.problems.append(result)
            continue
        counts, void, size, reason, faint = result
        report.pixels += counts
        report.images_with += counts > 0
        report.void += void
        report.images_read += 1
        report.sizes.add(size)
        if faint:
            report.faint.append(dataset.pairs[index][0])
        if reason:
            report.problems.append(f"{dataset.pairs[index][1]}: {reason}")
