"""Scoring a network on a split: overall, per condition and per folder."""

import argparse
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Subset

from datasets import SegmentationDataset
from eval.evaluator import Metric, Observer, evaluate, evaluation_loader
from eval.metrics import SegmentationMetrics
from eval.results import named_scores
from eval.subject import Subject


class Group(NamedTuple):
    """Images that are scored together: of one condition and one folder; None for any."""

    condition: str | None
    folder: str | None


def score_groups(
    subject: Subject,
    device: torch.device,
    args: argparse.Namespace,
    observer: Observer | None = None,
    by_folder: bool = False,
    also: Sequence[Metric] = (),
) -> dict[Group, SegmentationMetrics]:
    """Evaluate the split separately per condition and, if wanted, per folder."""
    dataset = subject.dataset
    folders = image_folders(dataset) if by_folder else [None] * len(dataset)
    keys = [Group(dataset.condition(index), folder) for index, folder in enumerate(folders)]
    indices = sorted(range(len(dataset)), key=lambda index: [part or "" for part in keys[index]])
    return {
        key: score_images(subject, device, args, list(members), observer, also)
        for key, members in groupby(indices, key=keys.__getitem__)
    }


def score_images(
    subject: Subject,
    device: torch.device,
    args: argparse.Namespace,
    indices: Sequence[int],
    observer: Observer | None = None,
    also: Sequence[Metric] = (),
) -> SegmentationMetrics:
    """Evaluate some images of the split, given by index."""
    loader = evaluation_loader(
        Subset(subject.dataset, list(indices)),
        args.num_workers,
        args.batch_size,
        pin_memory=device.type == "cuda",
    )
    return evaluate(
        subject.model,
        loader,
        num_classes=subject.labels.outputs,
        ignore_index=subject.labels.ignored,
        preprocessing=subject.preprocessing,
        device=device,
        observer=observer,
        inference=subject.inference,
        also=also,
    )


def image_folders(dataset: SegmentationDataset) -> list[str]:
    """Return the folder of each image, relative to their common folder."""
    folders = [image.parent for image, _ in dataset.pairs]
    shared = Path(os.path.commonpath(folders))
    return [folder.relative_to(shared).as_posix() for folder in folders]


def merge(
    subject: Subject, groups: Mapping[Group, SegmentationMetrics], **wanted: str
) -> SegmentationMetrics:
    """Add up all groups, or those of one condition or folder."""
    total = SegmentationMetrics(*subject.labels)
    for key, metrics in groups.items():
        if all(getattr(key, name) == value for name, value in wanted.items()):
            total.matrix += metrics.matrix
    return total


def scores_by(
    subject: Subject, groups: Mapping[Group, SegmentationMetrics], what: str
) -> dict[str, Any]:
    """Return the scores per condition or per folder, by name.

    Those without a labelled pixel are omitted.
    """
    names = dict.fromkeys(getattr(key, what) for key in groups)
    parts = {name: merge(subject, groups, **{what: name}) for name in names if name is not None}
    return {
        name: named_scores(metrics.compute(), subject.dataset.classes)
        for name, metrics in parts.items()
        if metrics.matrix.any()
    }
