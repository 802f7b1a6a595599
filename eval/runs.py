"""Several runs scored on the same images, under distinct names."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.evaluator import Metric, all_of
from eval.merged import merged_ious, parse_merged
from eval.metrics import SegmentationMetrics
from eval.per_image import ImageCounts, mean_iou
from eval.plants import PlantMetrics
from eval.reporting.pictures import spread
from eval.reporting.run_records import read_data_digest, read_record, spell_flag
from eval.results import summarize
from eval.scoring import merge, score_groups, score_images, scores_by
from eval.subject import Subject, load_subject
from models.formats import infer_architecture
from models.reading import read_weights

# Saved flags that may differ between repetitions of one run: the seed, paths, and what affects only
# convenience or speed. What a path leads to, a teacher or data, may not: see `tell_kinds_apart`.
REPETITION_FLAGS = {
    "seed", "teacher", "datadir", "savedir", "savedate", "run_name", "epochs_save", "num_workers",
    "cuda", "device", "steps_loss", "steps_plot", "port", "visualize", "visualize_outimages",
    "teacher_val", "iouTrain", "test_split", "cache", "on_bad_sample", "deterministic",
}  # fmt: skip


@dataclass
class ScoredRun:
    """A run with its scores, and its predictions for the images that are shown.

    Attributes:
        name: such as 'SEKD-CT SegformerB0', with ``state`` added if the name is taken.
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
    for state in args.runs:
        subject = load_subject(argparse.Namespace(**vars(args), state=state), device)
        check_comparable(state, subject, runs[0].subject if runs else subject)
        name = kind = kind_of(subject)
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
        result = {"name": name, "kind": kind, **result}
        runs.append(ScoredRun(name, state, subject, metrics, images, result, shown.predictions))
    tell_kinds_apart(runs)
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


def kind_of(subject: Subject) -> str:
    """Name a run by method or stage, and network: 'teacher SegformerB1', 'SEKD-CT SegformerB0'."""
    info = subject.info
    if info["method"] not in (None, "none"):
        kind = info["method"].upper()
    else:
        kind = info["args"].get("stage", "network")
        kind = "student" if kind == "sekd" else kind  # --method none: trained alone
    return f"{kind} {info['architecture']}"


def tell_kinds_apart(runs: Sequence[ScoredRun]) -> None:
    """Add to the kinds of runs in what runs of one kind differ: teachers, flags or data.

    Runs that then have the same kind are repetitions, such as other seeds, and are averaged. Each
    may have a teacher of its own, such as that of its seed: teachers are alike if there are as many
    of the same networks, as far as these are known.
    """
    for tell_apart in (_by_teachers, _by_flags, _by_data, _by_paths):
        for kind in dict.fromkeys(run.result["kind"] for run in runs):
            tell_apart([run for run in runs if run.result["kind"] == kind])


def _by_teachers(members: Sequence[ScoredRun]) -> None:
    """Name the teachers of runs whose teachers differ in number or networks."""

    def alike(one: ScoredRun, other: ScoredRun) -> bool:
        first, second = _teachers_of(one), _teachers_of(other)
        if not first or not second or first == second:
            return True
        known, others = _networks_in(first), _networks_in(second)
        return len(known) == len(others) and (None in known + others or known == others)

    def describe(group: Sequence[ScoredRun]) -> str:
        recorded = filter(None, map(_teachers_of, group))
        files = max(recorded, key=lambda files: None not in _networks_in(files))
        names = sorted(_network_in(file) or file for file in files)
        return f"teacher{'s' if len(names) > 1 else ''} {', '.join(names)}"

    _name_groups(members, alike, describe)


def _teachers_of(run: ScoredRun) -> list[str]:
    """Files of a run's teachers; empty if there is none, or none is recorded."""
    recorded = run.subject.info["args"].get("teacher") or []
    return [recorded] if isinstance(recorded, str) else list(map(str, recorded))


def _networks_in(files: Sequence[str]) -> list[str | None]:
    """Names of the networks in files, in any order of the files; None for what is unknown."""
    return sorted(map(_network_in, files), key=str)


@cache
def _network_in(file: str) -> str | None:
    """Name of the network in a teacher's file, by its run folder or itself; None if unknown."""
    try:
        model = read_record(file, {}).flags.get("model")
        if model is None and Path(file).exists():  # nothing is downloaded
            model, _ = infer_architecture(read_weights(file))
    except (OSError, ValueError):
        return None
    return model


def _by_flags(members: Sequence[ScoredRun]) -> None:
    """Name the flags in which runs differ."""
    flags = [run.subject.info["args"] for run in members]
    names = dict.fromkeys(name for each in flags for name in each if name not in REPETITION_FLAGS)
    _name_flags(members, names)


def _by_data(members: Sequence[ScoredRun]) -> None:
    """Name the data of runs that were trained on other files.

    Without the digests in both results.json, a folder of the same name counts as the same data.
    """

    def alike(one: ScoredRun, other: ScoredRun) -> bool:
        digests = [read_data_digest(run.state) for run in (one, other)]
        if None in digests:
            places = [run.subject.info["args"].get("datadir") for run in (one, other)]
            return None in places or Path(places[0]).name == Path(places[1]).name
        return digests[0] == digests[1]

    def describe(group: Sequence[ScoredRun]) -> str:
        place = _spell("datadir", group[0].subject.info["args"].get("datadir"))
        digest = next(filter(None, (read_data_digest(run.state) for run in group)), None)
        return place if digest is None else f"{place} (data_sha256 {digest[:8]})"

    _name_groups(members, alike, describe)


def _by_paths(members: Sequence[ScoredRun]) -> None:
    """Name the teachers and data of runs of the same seed, which are not repetitions."""
    seeds = [run.subject.info["args"].get("seed") for run in members]
    if len(set(seeds)) < len(seeds):
        _name_flags(members, ("teacher", "datadir"))


def _name_groups(
    members: Sequence[ScoredRun],
    alike: Callable[[ScoredRun, ScoredRun], bool],
    describe: Callable[[Sequence[ScoredRun]], str],
) -> None:
    """Group runs that are all alike and add the description of its group to each kind."""
    groups: list[list[ScoredRun]] = []
    for run in members:
        fitting = (group for group in groups if all(alike(run, other) for other in group))
        group = next(fitting, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    for group in groups if len(groups) > 1 else ():
        description = describe(group)
        for run in group:
            run.result["kind"] += f", {description}"


def _name_flags(members: Sequence[ScoredRun], names: Iterable[str]) -> None:
    """Add flags in which runs differ to their kinds."""
    flags = [run.subject.info["args"] for run in members]
    for name in names:
        # Runs of earlier releases lack some flags.
        if len({str(each[name]) for each in flags if name in each}) < 2:
            continue
        for run, each in zip(members, flags, strict=True):
            if name in each:
                run.result["kind"] += f", {_spell(name, each[name])}"


def _spell(name: str, value: Any) -> str:
    return " ".join(spell_flag(name, value) or [f"no --{name.replace('_', '-')}"])
