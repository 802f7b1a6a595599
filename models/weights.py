"""Inspect and convert weight files: checkpoints of this project and all published formats.

    python models/weights.py show FILE
    python models/weights.py convert IN OUT
    python models/weights.py grow IN OUT --model SegformerB3

`models/formats.py` lists the formats.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from command_line.cli import OneLineParser, run
from command_line.outputs import replacing
from models import files
from models.formats import FORMATS, infer_architecture, parameters_in
from models.growing import grow
from models.huggingface import save_huggingface
from models.loading import load_checkpoint
from models.reading import full_info, read_weights
from models.registry import MODELS, build_model
from models.saving import save_checkpoint
from models.segmenter import Segmenter
from models.shipped import save_shipped

SHIPPED_SUFFIX = ".safetensors"  # of files of 16-bit floats


def show(path: str, console: Console) -> None:
    """Print the contents of a file as a table."""
    weights = read_weights(path)
    name, overrides = infer_architecture(weights)
    info = full_info(weights)
    classes = weights.num_classes
    named = f"{classes}: {', '.join(info['classes'])}" if info["classes"] else classes
    rows = {
        "format": f"{weights.format} ({FORMATS[weights.format]})",
        "architecture": f"{name} {_pairs(overrides)}",
        "classes": named or "none: an encoder without a head",
        "parameters": _count(weights.state),
        "adapters": _count(weights.adapters) if weights.adapters else "none",
        "data set": info["dataset"],
        "preprocessing": _pairs(info["preprocessing"]),
        "method": info["method"],
        "metrics": _pairs(info["metrics"]),
        "seed": info["seed"],
        "flags": _pairs(info["args"]),
        "written with": _pairs(info["versions"]),
        "can be resumed": "yes" if info["training"] else "no",
    }
    table = Table(title=weights.source, show_header=False)
    for label, value in rows.items():
        if value not in (None, ""):
            table.add_row(label, str(value))
    console.print(table)


def _pairs(entries: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in entries.items() if value is not None)


def _count(state: dict[str, Tensor]) -> str:
    total = parameters_in(state)
    return f"{total:,} ({total / 1e6:.2f} M)"


def convert(args: argparse.Namespace, console: Console) -> None:
    """Read `args.source` in any format and write `args.target`."""
    if args.num_classes is not None and args.num_classes < 1:
        raise ValueError(f"--num-classes {args.num_classes}: at least 1")
    _check_target(args.target, args.source, args.model)
    model, info = load_checkpoint(
        args.source,
        args.model,
        args.num_classes,
        replace_classifier=args.num_classes is not None,
        resume=True,
    )
    if args.num_classes not in (None, read_weights(args.source, model=args.model).num_classes):
        # The new classifier does not predict the old classes.
        info |= dict.fromkeys(("classes", "palette", "metrics", "adapters", "training"))
    if args.published:
        target = Path(args.target)
        to_published = MODELS[model.name].to_published
        if target.suffix not in files.SUFFIXES or to_published is None:
            raise ValueError(f"{target}: --published writes a SegFormer as one .pth file")
        with replacing(target) as temporary:
            torch.save(to_published(dict(model.state_dict())), temporary)
        _tell_of_preprocessing(target, info["preprocessing"], console)
    else:
        save(args.target, model, info)
    rounding = ", rounded to 16 bits" if args.target.endswith(SHIPPED_SUFFIX) else ""
    what = f"{model.name} of {model.num_classes} classes{rounding}"
    console.print(f"{what}: {args.source} -> {args.target}")


def grow_file(args: argparse.Namespace, console: Console) -> None:
    """Read `args.source` and write a larger network that computes the same logits."""
    _check_target(args.target, args.source)
    if read_weights(args.source).num_classes is None:
        raise ValueError(f"{args.source}: an encoder alone; a whole network is grown")
    small, info = load_checkpoint(args.source)
    large = build_model(args.model, small.num_classes)
    grow(small, large)
    info |= dict.fromkeys(("adapters", "training", "training_cost"))
    info["args"] = (info["args"] or {}) | {"model": large.name}
    save(args.target, large, info)
    rounding = " but for rounding to 16 bits" if args.target.endswith(SHIPPED_SUFFIX) else ""
    console.print(f"{small.name} -> {large.name}, with the same logits{rounding}: {args.target}")


def _check_target(target: str, source: str, model: str | None = None) -> None:
    """Refuse to write over what is read; `model` is the network that `source` must hold."""
    if Path(target).exists() and Path(target).samefile(files.resolve(source, model)):
        raise ValueError(f"{target}: OUT is IN itself, which would be lost: name another OUT")


def save(path: str, model: Segmenter, info: dict[str, Any]) -> None:
    """Write a checkpoint, a file of 16-bit floats or a Hugging Face folder, chosen by the name."""
    target = Path(path)
    if target.suffix in (".pth", ".pt"):
        save_checkpoint(target, model, info)
    elif target.suffix == SHIPPED_SUFFIX:
        save_shipped(target, model, info)
    elif target.suffix.lower() == ".onnx":
        raise ValueError(f"{target}: eval/export.py --format onnx writes ONNX; OUT is a .pth file")
    elif target.suffix[1:2].isalpha() and not target.is_dir():  # b0-v1.5 may be a folder
        raise ValueError(
            f"{target}: OUT is a .pth or .safetensors file, or a folder for Hugging Face, no suffix"
        )
    else:
        save_huggingface(model, target, info["classes"], info)


def _tell_of_preprocessing(target: Path, preprocessing: dict[str, Any], console: Console) -> None:
    """Print preprocessing: a bare file cannot store it, and its readers assume images in [0, 1]."""
    mean, std = preprocessing["mean"], preprocessing["std"]
    if any(mean) or any(value != 1 for value in std):
        console.print(
            f"note: whoever reads {target} will feed images in [0, 1], as the published code does; "
            f"this network expects them normalised, with mean {mean} and std {std}"
        )


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = OneLineParser("weights.py", description="Look into and convert weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("show", help="say what a file holds")
    shown.add_argument("source", metavar="FILE", help="file, folder or Hugging Face id")
    converted = commands.add_parser("convert", help="write weights in another format")
    grown = commands.add_parser("grow", help="write a larger network with the same logits")
    for command in (converted, grown):
        command.add_argument("source", metavar="IN", help="file, folder or Hugging Face id")
        command.add_argument(
            "target",
            metavar="OUT",
            help="FILE.pth for a checkpoint, FILE.safetensors for one of 16-bit floats, else a "
            "folder for Hugging Face",
        )
    grown.add_argument(
        "--model",
        required=True,
        help="larger network of the same family to write, e.g. SegformerB3 for a SegformerB0",
    )
    converted.add_argument("--model", help="network that IN must hold, e.g. SegformerB0")
    converted.add_argument(
        "--num-classes",
        type=int,
        help="classes of OUT; an encoder alone, or another count, gets an untrained classifier",
    )
    converted.add_argument(
        "--published",
        action="store_true",
        help="write OUT.pth as a bare state dict with the published key names",
    )
    return parser


def main() -> None:
    """Run the command line.

    Raises:
        ValueError, OSError: a user's mistake.
    """
    args = build_parser().parse_args()
    console = Console()
    if args.command == "show":
        show(args.source, console)
    elif args.command == "grow":
        grow_file(args, console)
    else:
        convert(args, console)


if __name__ == "__main__":
    run(main)
