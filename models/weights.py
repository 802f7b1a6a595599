"""Read and write weights: checkpoints of this project and every published format.

    python models/weights.py show FILE
    python models/weights.py convert IN OUT

``models/formats.py`` lists the formats.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from command_line.cli import OneLineParser, run
from command_line.outputs import replacing
from models import files, keys
from models.files import resolve
from models.formats import (
    CLASSIFIER,
    CLASSIFIER_PREFIX,
    FORMATS,
    Weights,
    compare,
    infer_architecture,
    parameters_in,
    unwrap,
)
from models.huggingface import save_huggingface
from models.reading import FORMAT_VERSION, INFO, full_info, read_weights
from models.registry import MODELS, build_model, resolve_name
from models.segmenter import Segmenter
from models.shipped import save_shipped

__all__ = [
    "load_backbone",
    "load_checkpoint",
    "load_start",
    "resolve",
    "save_checkpoint",
    "save_huggingface",
]

MOST_PARAMETERS = 1 << 28  # three times those of the largest known network; 1 GiB


def save_checkpoint(path: str | Path, model: Segmenter, info: dict[str, Any], **extra: Any) -> None:
    """Write a checkpoint that describes itself, whole or not at all.

    Args:
        path: file to write or replace.
        model: its weights, name and overrides are saved.
        info: entries of ``INFO``; what is left out gets its default.
        extra: more entries, e.g. ``adapters`` (state dict of a method's adapters) and ``training``
            (all that resuming needs).

    Raises:
        ValueError: if the class names are not as many as the model's classes.
        TypeError: for a value that ``torch.load(weights_only=True)`` would refuse.
    """
    classes = info.get("classes")
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(
            f"{path}: {len(classes)} class names for a model of {model.num_classes} classes"
        )
    described = {key: value for key, value in (info | extra).items() if value is not None}
    content = (INFO | described) | {
        "format": "sekd",
        "format_version": FORMAT_VERSION,
        "model": unwrap(dict(model.state_dict())),
        "architecture": model.name,
        "overrides": model.overrides,
        "versions": software_versions() | described.get("versions", {}),
    }
    content = _plain(content, "checkpoint")
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


@cache  # part of every checkpoint
def software_versions(*more: str) -> dict[str, str]:
    """Return the versions of Python and of the libraries that a result depends on, and of more."""
    libraries = ("torch", "torchvision", "timm", "numpy", *more)
    return {"python": platform.python_version()} | {n: metadata.version(n) for n in libraries}


def _plain(value: Any, name: str) -> Any:
    """Copy nested containers, with types only that ``weights_only=True`` reads."""
    if value is None or isinstance(value, (bool, Tensor, bytes)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {_plain(k, name): _plain(v, f"{name}[{k!r}]") for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        items = [_plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise TypeError(f"{name} is a {type(value).__name__}: checkpoints hold plain types and tensors")


def load_checkpoint(
    path: str | Path,
    model: str | None = None,
    num_classes: int | None = None,
    map_location: str | torch.device = "cpu",
    replace_classifier: bool = False,
    resume: bool = False,
) -> tuple[Segmenter, dict[str, Any]]:
    """Build the network that a file holds and load its weights, strictly.

    Args:
        path: anything that :func:`resolve` takes.
        model: the name that the network must have, in any case; None takes what the file holds.
        num_classes: the class count that it must have. A file that holds an encoder alone needs it:
            the head then keeps its fresh weights.
        map_location: device of the tensors and of the network.
        replace_classifier: where the class count differs from ``num_classes``, keep a fresh
            classifier instead of raising.
        resume: also return ``training``, all that resuming needs; with the optimizer's state it is
            twice as large as the network, and of no use to those who score or compare.

    Returns:
        The network in eval mode, and what the file says about itself: the entries of ``INFO``,
        ``format`` (a key of ``FORMATS``), ``architecture`` and ``overrides``. ``adapters`` has the
        file's own keys.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another architecture or class count; for keys that are missing, unexpected
            or of another shape; for a file that cannot be read.
    """
    weights = read_weights(path, map_location, model)
    name, overrides = infer_architecture(weights)
    if model is not None and resolve_name(model) != name:
        raise ValueError(
            f"{weights.source}: holds {name}, not {resolve_name(model)}: pass --model {name}, or "
            "another file"
        )
    dropped = _dropped_prefixes(weights, num_classes, replace_classifier)
    count = num_classes or weights.num_classes
    assert count is not None  # or it would have been refused
    network = _build(weights.source, name, count, overrides)
    fresh = {key: v for key, v in network.state_dict().items() if key.startswith(dropped)}
    found = {key: value for key, value in weights.state.items() if not key.startswith(dropped)}
    _load_strictly(network, fresh | found, weights.source, name)
    if not resume:
        weights.info.pop("training", None)
    info = full_info(weights) | {"architecture": name, "overrides": overrides}
    return network.to(map_location).eval(), info


def _build(source: str, name: str, num_classes: int, overrides: dict[str, Any]) -> Segmenter:
    """Build the network that a file describes, after a look at how large it would be.

    Raises:
        ValueError: there is no such network, or it would fill the memory.
    """
    try:
        with torch.device("meta"):
            planned = build_model(name, num_classes, **overrides)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{source}: damaged: no {name} can be built of its 'overrides': {error}"
        ) from error
    size = sum(parameter.numel() for parameter in planned.parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{source}: damaged: its 'overrides' describe {size} parameters")
    return build_model(name, num_classes, **overrides)


def _dropped_prefixes(weights: Weights, num_classes: int | None, replace: bool) -> tuple[str, ...]:
    """Return prefixes of the keys that keep the network's fresh weights."""
    found = weights.num_classes
    if not weights.has_head:
        if num_classes is None:
            raise ValueError(
                f"{weights.source}: holds an encoder without a head: give it to --pretrained, or "
                "say --num-classes for a fresh head"
            )
        return ("head.",)
    if found is None:
        raise ValueError(f"{weights.source}: 1 missing: {CLASSIFIER}")
    if num_classes in (None, found):
        return ()
    if not replace:
        raise ValueError(
            f"{weights.source}: its classifier knows {found} classes, not {num_classes}: take a "
            "checkpoint of the same classes, or only its encoder, with --pretrained"
        )
    return (CLASSIFIER_PREFIX,)


def _load_strictly(module: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    if difference := compare(state, module.state_dict()):
        raise ValueError(f"{source}: does not fit {name}: {difference}")
    module.load_state_dict(state)


def load_backbone(model: Segmenter, path: str | Path) -> dict[str, Any]:
    """Load the encoder that a file holds into ``model``, strictly; its head is left as it is.

    Args:
        model: changed in place.
        path: anything that :func:`resolve` takes: an ImageNet backbone, or any whole network.

    Returns:
        What the file says about itself, as :func:`load_checkpoint`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the encoder is another one.
    """
    weights = read_weights(path, model=model.name)
    encoder = keys.without_prefix(weights.state, "encoder.")
    if difference := compare(encoder, model.encoder.state_dict()):
        name, _ = infer_architecture(weights)
        if name != model.name:
            raise ValueError(
                f"{weights.source}: holds the encoder of {name}, not of {model.name}: pass --model "
                f"{name}, or another file"
            )
        raise ValueError(f"{weights.source}: does not fit the encoder of {name}: {difference}")
    model.encoder.load_state_dict(encoder)
    return full_info(weights)


def load_start(model: Segmenter, path: str | Path, classes: Sequence[str]) -> dict[str, Any]:
    """Load a whole network into ``model`` to train on from; other classes keep a fresh classifier.

    Args:
        model: changed in place.
        path: anything that :func:`resolve` takes.
        classes: what ``model`` is to tell apart, by class id.

    Returns:
        What the file says about itself, as :func:`load_checkpoint`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds another network.
    """
    weights = read_weights(path, model=model.name)
    info = full_info(weights)
    fresh = {} if list(info["classes"] or ()) == list(classes) else model.state_dict()
    kept = {key: value for key, value in fresh.items() if key.startswith(CLASSIFIER_PREFIX)}
    _load_strictly(model, weights.state | kept, weights.source, model.name)
    return info


def show(path: str, console: Console) -> None:
    """Print what a file holds as a table."""
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
    """Read ``args.source`` in any format and write ``args.target``."""
    if args.num_classes is not None and args.num_classes < 1:
        raise ValueError(f"--num-classes {args.num_classes}: at least 1")
    model, info = load_checkpoint(
        args.source,
        args.model,
        args.num_classes,
        replace_classifier=args.num_classes is not None,
        resume=True,
    )
    if args.num_classes is not None:  # the new classifier knows nothing of the old classes
        info |= dict.fromkeys(("classes", "palette", "metrics", "adapters", "training"))
    target = Path(args.target)
    if args.published:
        to_published = MODELS[model.name].to_published
        if target.suffix not in files.SUFFIXES or to_published is None:
            raise ValueError(f"{target}: --published writes a SegFormer as one .pth file")
        with replacing(target) as temporary:
            torch.save(to_published(dict(model.state_dict())), temporary)
        _tell_of_preprocessing(target, info["preprocessing"], console)
    elif target.suffix in (".pth", ".pt"):
        save_checkpoint(target, model, info)
    elif target.suffix == ".safetensors":
        save_shipped(target, model, info)
    elif target.suffix.lower() == ".onnx":
        raise ValueError(f"{target}: eval/export.py --format onnx writes ONNX; OUT is a .pth file")
    elif target.suffix[1:2].isalpha() and not target.is_dir():  # b0-v1.5 may be a folder
        raise ValueError(
            f"{target}: OUT is a .pth or .safetensors file, or a folder for Hugging Face, no suffix"
        )
    else:
        save_huggingface(model, target, info["classes"], info)
    console.print(f"{model.name} of {model.num_classes} classes: {args.source} -> {target}")


def _tell_of_preprocessing(target: Path, preprocessing: dict[str, Any], console: Console) -> None:
    """A bare file cannot say how images are prepared, and its readers assume values of 0 to 1."""
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
    converted.add_argument("source", metavar="IN", help="file, folder or Hugging Face id")
    converted.add_argument(
        "target",
        metavar="OUT",
        help="FILE.pth for a checkpoint, FILE.safetensors for one of 16-bit floats, else a folder "
        "for Hugging Face",
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
    else:
        convert(args, console)


if __name__ == "__main__":
    run(main)
