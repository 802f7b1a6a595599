"""Read any weight file or folder: its tensors under our keys, and its metadata."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conventions.labels import VOID
from conventions.preprocessing import UNNORMALISED, Preprocessing
from models import files
from models.description import check_description, check_weights
from models.files import resolve
from models.formats import Weights, to_ours
from models.huggingface import read_folder
from models.registry import MODELS, resolve_name

FORMAT_VERSION = 1
# Metadata of a checkpoint, with defaults; files of other projects have little of it.
INFO: dict[str, Any] = {
    "classes": None,
    "palette": None,
    "ignore_index": VOID,
    "dataset": None,
    "preprocessing": Preprocessing().plain(),
    "method": None,
    "args": {},
    "seed": None,
    "versions": {},
    "metrics": {},
    "training_cost": None,  # see `eval.complexity.training_cost`
    "adapters": None,
    "training": None,
}


def read_weights(
    path: str | Path, map_location: str | torch.device = "cpu", model: str | None = None
) -> Weights:
    """Read any file or folder and translate its tensors to our keys, without building a network.

    `model` decides if two families share keys.
    """
    source = resolve(path, model)
    if source.is_dir():
        return read_folder(source, map_location)
    content = files.read(source, map_location)
    if not isinstance(content, dict):
        raise ValueError(f"{source}: holds a {type(content).__name__}, not a state dict")
    if content.get("format") == "sekd":
        return _read_own(content, str(source))
    nested = next((content[k] for k in ("state_dict", "model") if k in content), content)
    if not isinstance(nested, dict):
        raise ValueError(f"{source}: holds a {type(nested).__name__}, not a state dict")
    tensors = {
        key: value
        for key, value in nested.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    tensors = check_weights(tensors, str(source))
    weights = to_ours(tensors, str(source), MODELS[resolve_name(model)] if model else None)
    about = _foreign_info(content if nested is not content else {}, weights.format)
    weights.info = check_description(about, str(source))
    return weights


def _read_own(content: dict[str, Any], source: str) -> Weights:
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{source}: says it is of this project but holds no model")
    state = check_weights(content["model"], source)
    info = check_description({k: v for k, v in content.items() if k != "model"}, source)
    if info.get("format_version", 0) > FORMAT_VERSION:
        raise ValueError(
            f"{source}: written by a newer version of this project (format "
            f"{info['format_version']}, known here: {FORMAT_VERSION})"
        )
    overrides = info.pop("overrides", None) or {}
    return Weights(source, "sekd", state, info.get("adapters"), info, overrides)


def _foreign_info(content: dict[str, Any], layout: str) -> dict[str, Any]:
    """Collect metadata around a state dict of SEKD, TransKD or mmsegmentation."""
    info: dict[str, Any] = {}
    if "best_acc" in content:
        info["metrics"] = {key: content[key] for key in ("epoch", "best_acc") if key in content}
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    if "CLASSES" in meta:
        info["classes"] = meta["CLASSES"]
    if "PALETTE" in meta:
        info["palette"] = meta["PALETTE"]
    if layout.startswith("published"):
        info["preprocessing"] = UNNORMALISED.plain()
    return info


def full_info(weights: Weights) -> dict[str, Any]:
    """Return a file's metadata, with defaults for missing entries."""
    said = {key: value for key, value in weights.info.items() if value is not None}
    preprocessing = INFO["preprocessing"] | said.get("preprocessing", {})
    named = {"format": weights.format, "adapters": weights.adapters}
    return INFO | said | named | {"preprocessing": preprocessing}
