"""Flags for photographs, the network that segments them, and its classes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command_line.arguments import add_colours, add_state, image_size, positive_integer
from datasets import DATASETS, find_dataset
from datasets.base import parse_classes
from datasets.palettes import class_palette, recolour
from eval.exported.opening import LoadedNetwork
from models import MODELS


def add_source_flags(group: argparse._ArgumentGroup) -> None:
    """Add `--input`, `--output`, `--overwrite` and `--every`."""
    group.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="images, videos, folders with their sub-folders, or globs in quotation marks",
    )
    group.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace results that are in --output already"
    )
    group.add_argument(
        "--every",
        type=positive_integer,
        default=1,
        metavar="N",
        help="use every Nth frame of a video",
    )


def add_network_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the network, its classes and its device."""
    group = parser.add_argument_group("network")
    add = group.add_argument
    add_state(add)
    add("--model", help=f"network that the file holds: {', '.join(MODELS)}")
    add("--classes", help="class names, a,b,c or a text file (default: the checkpoint's)")
    add("--dataset", help=f"take names and colours from one of {', '.join(DATASETS)}")
    add_colours(add)
    add(
        "--image-size",
        type=image_size,
        help="size that images are brought to for the network: native, a short side in px, or "
        "HEIGHTxWIDTH (default: the checkpoint's); results have the source's size in any case",
    )
    add("--device", help="cpu, cuda, cuda:1 or mps (default: a GPU if there is one)")
    add("--cpu", action="store_true", help="the same as --device cpu")
    parser.set_defaults(protocol=None)  # the checkpoint's, as images must be prepared for it


def describe_classes(
    args: argparse.Namespace, info: dict[str, Any], model: LoadedNetwork
) -> tuple[Sequence[str], Sequence[tuple[int, int, int]]]:
    """Return names and colours from flags, else the checkpoint, else numbers and `class_palette`.

    A void output beside the classes of `--dataset` is dropped.

    Raises:
        ValueError: the number of class names differs from the network's, or a colour is invalid.
    """
    classes, palette = info["classes"], info["palette"]
    if args.dataset is not None:
        declared = find_dataset(args.dataset)
        classes, palette = getattr(declared, "classes", classes), declared.palette
        if declared.adds_void(model.num_classes):
            model.keep_classes(len(declared.classes))
        palette = palette if len(palette) == model.num_classes else None
    if args.classes is not None:
        classes = parse_classes(args.classes)
    count = model.num_classes
    classes = classes or [f"class {index}" for index in range(count)]
    if len(classes) != count:
        flag = "--classes" if args.classes is not None else f"--dataset {args.dataset}"
        raise ValueError(
            f"{flag}: {len(classes)} classes ({', '.join(classes)}), but {args.state} has {count}"
        )
    palette = [tuple(colour) for colour in palette or class_palette(classes)]
    return classes, recolour(classes, palette, args.colors or ())
