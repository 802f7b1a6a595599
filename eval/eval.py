"""Evaluate a checkpoint on a split of a data set.

    python eval/eval.py --state runs/student-SegformerB0-CWFID --datadir data/cwfid --subset test

The checkpoint says which network, classes and preprocessing it needs; published files do not, and
take them from flags.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from datasets import DATASETS, SegmentationDataset
from datasets.transforms import collate
from eval.arguments import (
    add_state,
    default_workers,
    image_size,
    non_negative_integer,
    positive_integer,
    positive_number,
)
from eval.boundary import RATIO, BoundaryMetrics
from eval.cli import OneLineParser, run
from eval.device import choose_device
from eval.evaluator import Meter, Observer, evaluate
from eval.inference_flags import add_inference_flags
from eval.latency import SIZES, latency_size, measure_latency, print_latency
from eval.metrics import SegmentationMetrics
from eval.official_cityscapes import official_scorer
from eval.results import check_target, named_scores, print_result, summarize, write_json
from eval.subject import KINDS, Subject, load_subject
from models import MODELS

PAPER_WARNING = (
    "[bold yellow]protocol paper:[/] void pixels count as the last class and labels are shrunk to "
    "a quarter; compare this mIoU with published numbers only"
)


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    if args.json:
        check_target(args.json)
    subject = load_subject(args, device)
    if subject.preprocessing["protocol"] == "paper":
        Console(stderr=True).print(PAPER_WARNING)
        if args.official:
            raise ValueError("--official scores labels at full size: it needs --protocol standard")
    also = []
    if args.boundary is not None:
        num_classes, ignore_index = subject.dataset.num_classes, subject.dataset.ignore_index
        also.append(BoundaryMetrics(num_classes, ignore_index, args.boundary))
    timed = args.latency is not None
    latency = measure_latency(subject, device, args.latency) if timed else None
    with official_scorer(subject.dataset, args.official) as official:
        groups = score_groups(subject, device, args, official, args.per_folder, also)
        result = summarize(
            subject,
            merge(subject, groups).compute(),
            conditions=scores_by(subject, groups, "condition"),
            folders=scores_by(subject, groups, "folder"),
            boundary=also and named_scores(also[0].compute(), subject.dataset.classes),
            inference=str(subject.inference),
            official=official and official.scores(),
            latency=latency,
            checkpoint=args.state,
        )
    print_result(result, subject.dataset.palette, Console())
    if latency:
        print_latency(latency, Console())
    if args.json:
        write_json(args.json, result)


class Group(NamedTuple):
    """What images are scored apart by; None where there is no such thing."""

    condition: str | None
    folder: str | None


def score(
    subject: Subject, device: torch.device, args: argparse.Namespace, observer: Observer | None
) -> tuple[SegmentationMetrics, dict[str, Any]]:
    """Evaluate the split; also by condition, where the data set tells conditions apart."""
    groups = score_groups(subject, device, args, observer)
    return merge(subject, groups), scores_by(subject, groups, "condition")


def score_groups(
    subject: Subject,
    device: torch.device,
    args: argparse.Namespace,
    observer: Observer | None = None,
    by_folder: bool = False,
    also: Sequence[Meter] = (),
) -> dict[Group, SegmentationMetrics]:
    """Evaluate the split, each condition, and if wanted each folder, for itself."""
    dataset = subject.dataset
    folders = image_folders(dataset) if by_folder else [None] * len(dataset)
    keys = [Group(dataset.condition(index), folder) for index, folder in enumerate(folders)]
    indices = sorted(range(len(dataset)), key=lambda index: [part or "" for part in keys[index]])
    groups = {}
    for key, members in groupby(indices, key=keys.__getitem__):
        loader = DataLoader(
            Subset(dataset, list(members)),
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
        )
        groups[key] = evaluate(
            subject.model,
            loader,
            num_classes=dataset.num_classes,
            ignore_index=dataset.ignore_index,
            preprocessing=subject.preprocessing,
            device=device,
            progress=None,
            observer=observer,
            inference=subject.inference,
            also=also,
        )
    return groups


def image_folders(dataset: SegmentationDataset) -> list[str]:
    """Name the folder of each image, from where all of them have in common."""
    folders = [image.parent for image, _ in dataset.pairs]
    shared = Path(os.path.commonpath(folders))
    return [folder.relative_to(shared).as_posix() for folder in folders]


def merge(
    subject: Subject, groups: Mapping[Group, SegmentationMetrics], **wanted: str
) -> SegmentationMetrics:
    """Add up the groups, or those of one condition or folder."""
    total = SegmentationMetrics(subject.dataset.num_classes, subject.dataset.ignore_index)
    for key, metrics in groups.items():
        if all(getattr(key, name) == value for name, value in wanted.items()):
            total.matrix += metrics.matrix
    return total


def scores_by(
    subject: Subject, groups: Mapping[Group, SegmentationMetrics], what: str
) -> dict[str, Any]:
    """Return the scores of each condition, or of each folder, by its name.

    What has no labelled pixel has no scores.
    """
    names = dict.fromkeys(getattr(key, what) for key in groups)
    parts = {name: merge(subject, groups, **{what: name}) for name in names if name is not None}
    return {
        name: named_scores(metrics.compute(), subject.dataset.classes)
        for name, metrics in parts.items()
        if metrics.matrix.any()
    }


def distance_share(text: str) -> float:
    """Read a share of the image's diagonal, above 0 and at most 0.5."""
    value = positive_number(text)
    if value > 0.5:
        raise argparse.ArgumentTypeError(f"must be at most 0.5, not {text}")
    return value


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Evaluate a checkpoint on a split of a data set.")
    add = parser.add_argument
    add_state(add)
    add("--json", type=Path, metavar="FILE", help="write the result to this file")
    add(
        "--official",
        action="store_true",
        help="Cityscapes, ACDC: also the official metric, from PNGs in label ids",
    )
    add(
        "--boundary",
        type=distance_share,
        nargs="?",
        const=RATIO,
        metavar="SHARE",
        help="also Boundary IoU, of the pixels near outlines: within this share of the image's "
        f"diagonal (without a value: {RATIO}; for small plants take 0.005)",
    )
    default = " ".join("x".join(map(str, size)) for size in SIZES)
    add(
        "--latency",
        type=latency_size,
        nargs="*",
        metavar="SIZE",
        help="also the time of one image in PyTorch, TorchScript and ONNX Runtime, float and int8, "
        f"at these sizes, 512 or HEIGHTxWIDTH (without a value: {default})",
    )
    add("--per-folder", action="store_true", help="also the scores of each folder of images")
    add_evaluation_flags(parser)
    return parser


def add_evaluation_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `eval.subject.load_subject` and `score` read, apart from ``--state``."""
    data = parser.add_argument_group("data (default: what the checkpoint was trained on)")
    data.add_argument("--dataset", help=f"one of {', '.join(DATASETS)}")
    data.add_argument("--datadir", type=Path, help="where the data set lies")
    data.add_argument("--subset", help="split to evaluate (default: the data set's, often val)")
    data.add_argument("--classes", help="class names of data in VOC layout: a,b,c or a text file")

    network = parser.add_argument_group("network (for files that do not describe themselves)")
    network.add_argument("--model", help=f"network that the file holds: {', '.join(MODELS)}")
    network.add_argument("--num-classes", type=positive_integer, help="classes that it knows")
    network.add_argument(
        "--distillation-type",
        choices=KINDS,
        help="stop if the file is known to hold another kind of network; a method's adapters in a "
        "published file are left out in any case",
    )

    how = parser.add_argument_group("how")
    how.add_argument(
        "--protocol",
        choices=("standard", "paper"),
        help="standard: at the labels' own size, void left out; paper: as the published numbers, "
        "at a quarter of the image's size (default: the checkpoint's)",
    )
    how.add_argument(
        "--image-size",
        type=image_size,
        help="size that images are brought to: native, a short side in px, or HEIGHTxWIDTH "
        "(default: the checkpoint's)",
    )
    add_inference_flags(how)
    how.add_argument("--batch-size", type=positive_integer, default=1, help="images at a time")
    how.add_argument(
        "--num-workers",
        type=non_negative_integer,
        default=default_workers(),
        help="processes that read data (default: one a CPU core, at most 4)",
    )
    how.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: a GPU if there is one)")
    how.add_argument("--cpu", action="store_true", help="the same as --device cpu")


if __name__ == "__main__":
    run(main)
