"""Flags for what is scored, and how."""

import argparse
from pathlib import Path

from command_line.arguments import (
    add_colours,
    default_workers,
    image_size,
    non_negative_integer,
    positive_integer,
)
from datasets import DATASETS
from eval.flags.inference import add_inference_flags, add_precision
from models import MODELS

FIRST = ("--plants", "--dataset", "--datadir", "--subset", "--device")  # shown by --help
KINDS = ("teacher", "student", "distilled", "sekd", "transkd")


def add_evaluation_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for `eval.subject.load_subject` and `eval.scoring`, except `--state`."""
    _add_subject_flags(parser)
    _add_scoring_flags(parser)


def _add_subject_flags(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data (default: what the checkpoint was trained on)")
    data.add_argument("--dataset", help=f"one of {', '.join(DATASETS)}")
    data.add_argument("--datadir", type=Path, help="folder of the data set")
    data.add_argument("--subset", help="split to evaluate (default: the data set's, often val)")
    data.add_argument("--classes", help="class names of data in VOC layout: a,b,c or a text file")
    add_colours(data.add_argument)

    network = parser.add_argument_group("network (for files that do not describe themselves)")
    network.add_argument("--model", help=f"network that the file holds: {', '.join(MODELS)}")
    network.add_argument("--num-classes", type=positive_integer, help="number of its classes")
    network.add_argument(
        "--distillation-type",
        choices=KINDS,
        help="stop if the file is known to hold another kind of network; a method's adapters in a "
        "published file are left out in any case",
    )


def _add_scoring_flags(parser: argparse.ArgumentParser) -> None:
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
    how.add_argument(
        "--plants",
        type=positive_integer,
        nargs="?",
        const=1,
        metavar="PX",
        help="also weeds hit and crops hurt by a sprayer or hoe that treats squares of PX px "
        "(without a value: 1, the predicted weed pixels alone)",
    )
    how.add_argument(
        "--merge",
        nargs="+",
        default=[],
        metavar="NAME=A,B",
        help="also the IoU of several classes as one, as in vegetation=crop,weed; the mean stays "
        "that of the single classes",
    )
    how.add_argument(
        "--batch-size", type=positive_integer, default=1, help="images per batch (default: 1)"
    )
    how.add_argument(
        "--num-workers",
        type=non_negative_integer,
        default=default_workers(),
        help="processes that read data (default: one per CPU core, at most 4)",
    )
    add_precision(how)
    how.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: a GPU if there is one)")
    how.add_argument("--cpu", action="store_true", help="the same as --device cpu")
