"""The shipped weights called `fields`, trained on drawn crop fields only.

A shipped file is a `.safetensors` of 16-bit floats whose header holds a checkpoint's metadata,
as JSON under the key `sekd`.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from command_line.outputs import replacing
from models.registry import MODELS, resolve_name
from models.segmenter import Segmenter

FOLDER = Path(__file__).resolve().parents[1] / "ckpt_pretrained"
NAME = "fields"
HEADER = "sekd"
KEPT = ("classes", "palette", "ignore_index", "dataset", "preprocessing", "seed", "versions",
        "metrics")  # fmt: skip


def shipped_models() -> dict[str, Path]:
    """Files of `fields` weights, by network."""
    named = {name: family.sizes[name].fields for name, family in MODELS.items()}
    files = {name: FOLDER / file for name, file in named.items() if file}
    return {name: file for name, file in files.items() if file.is_file()}


def find_shipped(model: str | None) -> Path:
    """Find the file of a network; None means the smallest one that has weights.

    Raises:
        ValueError: the network has no such weights, or no files are found.
    """
    found = _find_files()
    name = next(iter(found)) if model is None else resolve_name(model)
    if name not in found:
        raise ValueError(f"'{NAME}' weights come for {', '.join(found)}, not for {name}")
    return found[name]


def _find_files() -> dict[str, Path]:
    if found := shipped_models():
        return found
    raise ValueError(
        f"'{NAME}': no such weights in {FOLDER.name}; its README.md says how to make them"
    )


def find_start(model: str) -> Path:
    """Find the file that a network starts from: its own, or that of a smaller network to grow.

    Returns:
        The file of the largest network of the same family that is not larger.

    Raises:
        ValueError: there is none; the message lists the networks that have one.
    """
    starts = _starts()
    name = resolve_name(model)
    if name not in starts:
        raise ValueError(f"'{NAME}' weights come for {', '.join(starts)}, not for {name}")
    return starts[name]


def _starts() -> dict[str, Path]:
    """Files of `find_start`, by network."""
    found, starts = _find_files(), {}
    for name, family in MODELS.items():
        sizes = list(family.sizes)
        smaller = [each for each in sizes[: sizes.index(name) + 1] if each in found]
        if smaller:
            starts[name] = found[smaller[-1]]
    return starts


def save_shipped(path: Path, model: Segmenter, info: dict[str, Any]) -> None:
    """Write a network as 16-bit floats, with the metadata needed to use it."""
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    if not all(value.isfinite().all() for value in tensors.values()):
        raise ValueError(f"{path}: the weights do not fit 16-bit floats")
    header = {"architecture": model.name, "overrides": model.overrides}
    header |= {key: info[key] for key in KEPT if info.get(key) is not None}
    with replacing(path) as temporary:
        # Not save_file: its file would be readable only by its owner.
        temporary.write_bytes(safetensors.torch.save(tensors, {HEADER: json.dumps(header)}))


def read_shipped(path: Path, map_location: str | torch.device) -> dict[str, Any] | None:
    """Read a file of `save_shipped` as checkpoint contents; None for other files."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(HEADER)
    if header is None:
        return None
    tensors = safetensors.torch.load_file(path, device=str(map_location))
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return json.loads(header) | {"format": "sekd", "format_version": 1, "model": tensors}
