"""Evaluate a checkpoint on a split of a data set.

    python eval/eval.py --state runs/student-SegformerB0-CWFID --datadir data/cwfid --subset test

Checkpoints contain the network's name, classes and preprocessing; published files do not, and need
flags for them.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from rich.console import Console

from command_line.arguments import add_state, positive_number
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.outputs import check_target
from eval.boundary import RATIO, BoundaryMetrics
from eval.deployment.latency import SIZES, latency_size, measure_latency, print_latency
from eval.evaluator import all_of
from eval.flags.evaluation import FIRST, add_evaluation_flags
from eval.merged import merged_ious, parse_merged
from eval.official_cityscapes import official_scorer
from eval.per_image import ImageCounts
from eval.plants import PlantMetrics
from eval.results import named_scores, print_result, summarize, write_json
from eval.scoring import merge, score_groups, scores_by
from eval.subject import load_subject

PAPER_WARNING = (
    "[bold yellow]protocol paper:[/] void pixels count as the last class and labels are shrunk to "
    "a quarter; compare this mIoU with published numbers only"
)


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    for flag, path in (("--json", args.json), ("--per-image", args.per_image)):
        if path:
            check_target(path, flag)
    subject = load_subject(args, device)
    if subject.preprocessing.protocol == "paper":
        Console(stderr=True).print(PAPER_WARNING)
        if args.official:
            raise ValueError("--official scores labels at full size: it needs --protocol standard")
    merged = parse_merged(args.merge, subject.dataset.classes)
    images = ImageCounts(*subject.labels) if args.per_image else None
    boundary = None
    if args.boundary is not None:
        boundary = BoundaryMetrics(*subject.labels, args.boundary)
    plants = None
    if args.plants is not None:
        plants = PlantMetrics(subject.dataset.classes, subject.labels.ignored, args.plants)
    also = [metric for metric in (boundary, images, plants) if metric is not None]
    timed = args.latency is not None
    latency = measure_latency(subject, device, args.latency) if timed else None
    with official_scorer(subject.dataset, args.official) as official:
        observer = all_of(official, images)
        groups = score_groups(subject, device, args, observer, args.per_folder, also)
        total = merge(subject, groups)
        result = summarize(
            subject,
            total.compute(),
            merged=merged_ious(total.matrix, merged),
            conditions=scores_by(subject, groups, "condition"),
            folders=scores_by(subject, groups, "folder"),
            boundary=boundary and named_scores(boundary.compute(), subject.dataset.classes),
            plants=plants and plants.compute(),
            inference=str(subject.inference),
            official=official and official.scores(),
            latency=latency,
            checkpoint=args.state,
        )
    print_result(result, subject.dataset.palette, Console())
    if latency:
        print_latency(latency, Console())
    if images is not None:
        images.write(args.per_image, subject.dataset.classes)
    if args.json:
        write_json(args.json, result)


def distance_share(text: str) -> float:
    """Read a share of the image's diagonal, in (0, 0.5]."""
    value = positive_number(text)
    if value > 0.5:
        raise argparse.ArgumentTypeError(f"must be at most 0.5, not {text}")
    return value


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = OneLineParser(description="Evaluate a checkpoint on a split of a data set.")
    add = parser.add_argument
    add_state(add)
    add("--json", type=Path, metavar="FILE", help="write the result to this file")
    add(
        "--per-image",
        type=Path,
        metavar="FILE",
        help="write the mIoU and the counts of each image to this CSV file",
    )
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
        help="also the time per image in PyTorch, TorchScript and ONNX Runtime, float and int8, "
        f"at these sizes, 512 or HEIGHTxWIDTH (without a value: {default})",
    )
    add("--per-folder", action="store_true", help="also the scores of each folder of images")
    add_evaluation_flags(parser)
    parser.show_first("--json", *FIRST)
    return parser


if __name__ == "__main__":
    run(main)
