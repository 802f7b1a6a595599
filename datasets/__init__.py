"""Data sets as declarations; `build_dataset(name, root, split)` finds them by name."""

from datasets.base import SegmentationDataset, parse_classes
from datasets.registry import DATASETS, build_dataset, find_dataset

__all__ = ["DATASETS", "SegmentationDataset", "build_dataset", "find_dataset", "parse_classes"]
