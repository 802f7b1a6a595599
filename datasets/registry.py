"""Data sets by name. To add one, declare it in a file and register it here."""

from collections.abc import Callable, Sequence
from pathlib import Path

from datasets.acdc import ACDC
from datasets.base import SegmentationDataset
from datasets.camvid import CamVid
from datasets.cityscapes import Cityscapes
from datasets.cwfid import CWFID
from datasets.phenobench import PhenoBench
from datasets.sugar_beets import SugarBeets
from datasets.sweet_pepper import SweetPepper
from datasets.synthetic import Synthetic
from datasets.voc import VOC

DATASETS: dict[str, type[SegmentationDataset]] = {
    "VOC": VOC,
    "Cityscapes": Cityscapes,
    "ACDC": ACDC,
    "SugarBeets": SugarBeets,
    "SweetPepper": SweetPepper,
    "CWFID": CWFID,
    "CamVid": CamVid,
    "PhenoBench": PhenoBench,
    "Synthetic": Synthetic,
}


def find_dataset(name: str) -> type[SegmentationDataset]:
    """Find a data set's class by its case-insensitive name.

    Raises:
        ValueError: no data set has that name; the message lists the known ones.
    """
    for known, dataset in DATASETS.items():
        if known.casefold() == name.casefold():
            return dataset
    raise ValueError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")


def build_dataset(
    name: str,
    root: str | Path | None,
    split: str,
    transform: Callable | None = None,
    classes: str | Sequence[str] | None = None,
) -> SegmentationDataset:
    """Open a split of a data set; see `SegmentationDataset` for the arguments and errors."""
    return find_dataset(name)(root, split, transform=transform, classes=classes)
