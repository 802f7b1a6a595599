"""Write a checkpoint of this project."""

import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from command_line.outputs import replacing
from models.formats import unwrap
from models.reading import FORMAT_VERSION, INFO
from models.segmenter import Segmenter


def save_checkpoint(path: str | Path, model: Segmenter, info: dict[str, Any], **extra: Any) -> None:
    """Write a self-describing checkpoint, completely or not at all.

    Args:
        path: file to write or replace.
        model: its weights, name and overrides are saved.
        info: entries of `INFO`; missing ones get their defaults.
        extra: further entries, e.g. `adapters` (state dict of a method's adapters) and
            `training` (the state needed to resume).

    Raises:
        ValueError: if the number of class names differs from the model's classes.
        TypeError: for a value that `torch.load(weights_only=True)` would refuse.
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


@cache  # called for every checkpoint
def software_versions(*more: str) -> dict[str, str]:
    """Return the versions of Python, of the libraries that results depend on, and of `more`."""
    libraries = ("torch", "torchvision", "timm", "numpy", *more)
    return {"python": platform.python_version()} | {n: metadata.version(n) for n in libraries}


def _plain(value: Any, name: str) -> Any:
    """Copy nested containers, using only types that `weights_only=True` reads."""
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
