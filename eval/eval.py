"""Evaluate a checkpoint on a split of a data set.

    python eval/eval.py --state runs/student-SegformerB0-CWFID --datadir data/cwfid --subset test

The checkpoint says which network, classes and preprocessing it needs; published files do not, and
take them from flags.
"""

import argparse
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from datasets import DATASETS
from datasets.transforms import collate
from eval.arguments import image_size, non_negative_integer, positive_integer
from eval.cli import OneLineParser, run
from eval.device import choose_device
from eval.evaluator import Observer, evaluate
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
    with official_scorer(subject.dataset, args.official) as official:
        metrics, conditions = score(subject, device, args, observer=official)
        result = summarize(
            subject,
            metrics.compute(),
            conditions=conditions,
            official=official and official.scores(),
            checkpoint=args.state,
        )
    print_result(result, subject.dataset.palette, Console())
    if args.json:
        write_json(args.json, result)


def score(
    subject: Subject, device: torch.device, args: argparse.Namespace, observer: Observer | None
) -> tuple[SegmentationMetrics, dict[str, Any]]:
    """Evaluate the split; also by condition, where the data set tells conditions apart."""
    dataset = subject.dataset
    total = SegmentationMetrics(dataset.num_classes, dataset.ignore_index)
    by_condition = {}
    indices = sorted(range(len(dataset)), key=lambda index: dataset.condition(index) or "")
    for condition, group in groupby(indices, key=dataset.condition):
        loader = DataLoader(
            Subset(dataset, list(group)),
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
        )
        metrics = evaluate(
            subject.model,
            loader,
            num_classes=dataset.num_classes,
            ignore_index=dataset.ignore_index,
            preprocessing=subject.preprocessing,
            device=device,
            progress=None,
            observer=observer,
        )
        total.matrix += metrics.matrix
        if condition is not None:
            by_condition[condition] = named_scores(metrics.compute(), dataset.classes)
    return total, by_condition


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Evaluate a checkpoint on a split of a data set.")
    add = parser.add_argument
    add(
        "--state",
        required=True,
        metavar="CKPT",
        help="checkpoint, run folder, published file, Hugging Face folder or id",
    )
    add("--json", type=Path, metavar="FILE", help="write the result to this file")
    add(
        "--official",
        action="store_true",
        help="Cityscapes, ACDC: also the official metric, from PNGs in label ids",
    )
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
    how.add_argument("--batch-size", type=positive_integer, default=1, help="images at a time")
    how.add_argument(
        "--num-workers", type=non_negative_integer, default=4, help="processes that read data"
    )
    how.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: a GPU if there is one)")
    how.add_argument("--cpu", action="store_true", help="the same as --device cpu")


if __name__ == "__main__":
    run(main)
