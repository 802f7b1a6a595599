"""Several runs scored on the same images, under distinct names."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.evaluator import Metric, all_of
from eval.kinds import Kind, tell_kinds_apart
from eval.merged import merged_ious, parse_merged
from eval.metrics import SegmentationMetrics
from eval.per_image import ImageCounts, mean_iou
from eval.plants import PlantMetrics
from eval.reporting.pictures import spread
from eval.results import summarize
from eval.scoring import merge, score_groups, score_images, scores_by
from eval.subject import Subject, load_subject


@dataclass
class ScoredRun:
    """A run with its scores, and its predictions for the images that are shown.

    Attributes:
        name: such as 'SEKD-CT SegformerB0', with `state` added if the name is taken.
        state: run folder or checkpoint, as given by the user.
        subject: network, checkpoint metadata and split.
        metrics: confusion matrix over the split.
        images: counts per image.
        result: as written by eval.py, plus the name, and the kind shared by repetitions of a run.
        predictions: by index in the split, (H, W) uint8.
    """

    name: str
    state: str
    subject: Subject
    metrics: SegmentationMetrics
    images: ImageCounts
    result: dict[str, Any]
    predictions: dict[int, np.ndarray] = field(default_factory=dict)


def score_runs(args: argparse.Namespace, device: torch.device) -> list[ScoredRun]:
    """Score the runs `args.runs` on one split and keep the predictions of `args.images` images.

    Raises:
        ValueError, OSError: from `load_subject` and `check_comparable`.
    """
    runs: list[ScoredRun] = []
    kinds: list[Kind] = []
    for state in args.runs:
        subject = load_subject(argparse.Namespace(**vars(args), state=state), device)
        check_comparable(state, subject, runs[0].subject if runs else subject)
        kinds.append(Kind.of(subject, state))
        name = kinds[-1].name
        if name in {run.name for run in runs}:  # for example another seed
            name = f"{name} ({state})"
        merged = parse_merged(args.merge, subject.dataset.classes)
        shown = Shown(subject, spread(len(subject.dataset), args.images))
        images = ImageCounts(*subject.labels)
        also: list[Metric] = [images]
        if args.plants is not None:
            plants = PlantMetrics(subject.dataset.classes, subject.labels.ignored, args.plants)
            also.append(plants)
        groups = score_groups(subject, device, args, all_of(shown, images), also=also)
        metrics = merge(subject, groups)
        result = summarize(
            subject,
            metrics.compute(),
            merged=merged_ious(metrics.matrix, merged),
            conditions=scores_by(subject, groups, "condition"),
            plants=None if args.plants is None else plants.compute(),
            inference=str(subject.inference),
            checkpoint=state,
        )
        result = {"name": name, **result}
        runs.append(ScoredRun(name, state, subject, metrics, images, result, shown.predictions))
    tell_kinds_apart(kinds)
    for scored, kind in zip(runs, kinds, strict=True):
        scored.result["kind"] = kind.name
    return runs


class Shown:
    """An observer for `evaluate` that keeps the predictions of images with these indices."""

    def __init__(self, subject: Subject, indices: Iterable[int]) -> None:
        self.indices = {subject.dataset.names[index]: index for index in indices}
        self.predictions: dict[int, np.ndarray] = {}

    def __call__(self, name: str, prediction: Tensor) -> None:
        """Keep a prediction (H, W) if its image is to be shown."""
        if name in self.indices:
            self.predictions[self.indices[name]] = prediction.cpu().numpy()


def image_scores(runs: Sequence[ScoredRun]) -> dict[int, float]:
    """Return the mIoU per image, averaged over the runs; images without labels are omitted."""
    places = {name: index for index, name in enumerate(runs[0].subject.dataset.names)}
    scores: dict[int, list[float]] = {}
    for scored in runs:
        for name, counts in zip(scored.images.names, scored.images.counts, strict=True):
            if counts.any():
                scores.setdefault(places[name], []).append(float(mean_iou(counts)))
    return {index: fmean(values) for index, values in sorted(scores.items())}


def predict_also(
    runs: Sequence[ScoredRun],
    indices: Sequence[int],
    device: torch.device,
    args: argparse.Namespace,
) -> None:
    """Add the predictions of further images, given by index, to each run."""
    for scored in runs:
        missing = [index for index in indices if index not in scored.predictions]
        if missing:
            shown = Shown(scored.subject, missing)
            score_images(scored.subject, device, args, missing, shown)
            scored.predictions |= shown.predictions


def check_comparable(state: str, subject: Subject, first: Subject) -> None:
    """Raise if a run's data or protocol differs from the first's: scores would not be comparable.

    Raises:
        ValueError: the runs would be scored on different images or by different protocols, as no
            flag sets a common one.
    """
    one, other = first.dataset, subject.dataset
    if (one.name, one.pairs) != (other.name, other.pairs):
        raise ValueError(
            f"{state} would be scored on other images ({other.name}, {other.split}) than the first "
            f"run ({one.name}, {one.split}): give --dataset, --datadir and --subset for all"
        )
    protocol, common = subject.preprocessing.protocol, first.preprocessing.protocol
    if protocol != common:
        raise ValueError(
            f"{state} would be scored by the protocol {protocol}, the first run by {common}: give "
            "--protocol for all"
        )
