"""Read and write folders of Hugging Face transformers' segmentation networks.

transformers itself is not needed. A folder holds `config.json` (architecture and class names),
`model.safetensors` and `preprocessor_config.json`; ours also hold `sekd.json`, for what those
cannot express (palette, method, metrics).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from command_line.documents import read_json
from command_line.outputs import write_folder
from conventions.labels import VOID
from conventions.preprocessing import UNNORMALISED, Preprocessing
from models import files
from models.description import check_description, check_weights
from models.family import Family
from models.formats import Weights, to_ours
from models.registry import FAMILIES, MODELS
from models.segmenter import Segmenter

OWN_FILE = "sekd.json"
OWN_FIELDS = (
    "dataset", "palette", "ignore_index", "preprocessing", "method", "args", "seed", "versions",
    "metrics",
)  # fmt: skip


def read_folder(folder: Path, map_location: str | torch.device = "cpu") -> Weights:
    """Read a transformers or timm folder with a network of a known family, or our own export.

    Raises:
        ValueError: for a configuration that is not one of these, or a broken file.
    """
    config = _read_object(folder / "config.json")
    kind = str(config.get("model_type") or config.get("architecture") or "nothing that it names")
    family = _find_family(kind)
    if family is None:
        known = ", ".join(family.config_kind for family in FAMILIES if family.config_kind)
        raise ValueError(f"{folder}: config.json describes {kind}; known: {known}")
    state = check_weights(files.read(files.folder_weights(folder), map_location), str(folder))
    weights = to_ours(state, str(folder), family)
    if family.huggingface:
        try:
            weights.overrides = family.huggingface.overrides(
                config, *family.dimensions(weights.state)
            )
            about = _info(config, folder)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = error if isinstance(error, ValueError) else "an entry has another type"
            raise ValueError(f"{folder}: config.json: {reason}") from error
        weights.info = check_description(about, str(folder))
    return weights


def _find_family(kind: str) -> Family | None:
    for family in FAMILIES:
        if family.config_kind and kind.startswith(family.config_kind):
            return family
    return None


def _info(config: dict, folder: Path) -> dict[str, Any]:
    names = config.get("id2label") or {}
    classes = [names[index] for index in sorted(names, key=int)]
    info: dict[str, Any] = {}
    if classes and not all(name.startswith("LABEL_") for name in classes):
        info["classes"] = classes
    if "semantic_loss_ignore_index" in config:
        info["ignore_index"] = config["semantic_loss_ignore_index"]
    if (folder / "preprocessor_config.json").exists():
        info["preprocessing"] = _preprocessing(_read_object(folder / "preprocessor_config.json"))
    if (folder / OWN_FILE).exists():
        own = _read_object(folder / OWN_FILE)
        info |= {key: own[key] for key in OWN_FIELDS if key in own}
    return info


def _preprocessing(config: dict) -> dict[str, Any]:
    """Translate `preprocessor_config.json`; older ones give a square's size as one number."""
    preprocessing: dict[str, Any] = {}
    if config.get("do_normalize", True) and "image_mean" in config:
        preprocessing |= {"mean": config["image_mean"], "std": config["image_std"]}
    elif not config.get("do_normalize", True):
        preprocessing |= {"mean": list(UNNORMALISED.mean), "std": list(UNNORMALISED.std)}
    size = config.get("size")
    if config.get("do_resize") and size:
        size = {"height": size, "width": size} if isinstance(size, int) else size
        if {"height", "width"} <= set(size):
            preprocessing["image_size"] = [size["height"], size["width"]]
    return preprocessing


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object")
    return content


def save_huggingface(
    model: Segmenter,
    folder: str | Path,
    classes: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write a folder that transformers' `from_pretrained` can load.

    Args:
        model: network of a family that transformers has, such as SegFormer.
        folder: created if missing; no file in it is replaced before all are complete.
        classes: names of the classes, in order; None writes none.
        info: checkpoint metadata; preprocessing and the entries of `sekd.json` are read from it.

    Raises:
        ValueError: if transformers has no such model, or the number of class names is wrong.
    """
    layout = MODELS[model.name].huggingface
    if layout is None:
        having = " and ".join(family.name for family in FAMILIES if family.huggingface)
        raise ValueError(f"{model.name} has no Hugging Face layout: only {having} has")
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(f"{len(classes)} class names for a model of {model.num_classes} classes")
    info = info or {}
    tensors = {
        key: value.detach().cpu().contiguous()
        for key, value in layout.from_ours(model.state_dict()).items()
    }
    preprocessing = Preprocessing.read(info.get("preprocessing") or {})
    documents = {
        "config.json": layout.config(model)
        | {"semantic_loss_ignore_index": info.get("ignore_index", VOID)}
        | _class_names(model, classes)
        | {"torch_dtype": "float32"},
        "preprocessor_config.json": _preprocessor(preprocessing),
        OWN_FILE: {key: info[key] for key in OWN_FIELDS if info.get(key) is not None},
    }
    contents = {
        name: (json.dumps(document, indent=2, default=str) + "\n").encode()
        for name, document in documents.items()
    }
    # Not save_file: its file would be readable only by its owner.
    contents["model.safetensors"] = safetensors.torch.save(tensors, metadata={"format": "pt"})
    write_folder(Path(folder), contents)


def _class_names(model: Segmenter, classes: Sequence[str] | None) -> dict[str, Any]:
    names = classes or [f"LABEL_{index}" for index in range(model.num_classes)]
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def _preprocessor(preprocessing: Preprocessing) -> dict[str, Any]:
    size = preprocessing.image_size
    # The format cannot express a short side: images keep their size, and ours is in sekd.json.
    height, width = size if isinstance(size, tuple) else (512, 512)
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": isinstance(size, tuple),
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_reduce_labels": False,
    }
