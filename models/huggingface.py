"""Folders of Hugging Face transformers' ``SegformerForSemanticSegmentation``: read and written.

transformers itself is not needed. A folder holds ``config.json`` (architecture and class names),
``model.safetensors`` and ``preprocessor_config.json``; ours also hold ``sekd.json``, for what those
cannot say (palette, method, metrics).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch

from command_line.outputs import write_folder
from conventions.labels import VOID
from conventions.preprocessing import UNNORMALISED, Preprocessing
from models import files, keys
from models.formats import Weights, dimensions, to_ours
from models.mit import BLOCK_EPS, attention_heads
from models.registry import MODELS
from models.segmenter import Segmenter

SR_RATIOS = [8, 4, 2, 1]
OWN_FILE = "sekd.json"
OWN_FIELDS = (
    "dataset", "palette", "ignore_index", "preprocessing", "method", "args", "seed", "versions",
    "metrics",
)  # fmt: skip


def read_folder(folder: Path, map_location: str = "cpu", prefer_pvt: bool = False) -> Weights:
    """Read a folder of transformers' SegFormer, of timm's PVTv2, or of our own export.

    Raises:
        ValueError: for a configuration that is not one of these, or a broken file.
    """
    config = _read_json(folder / "config.json")
    kind = config.get("model_type") or config.get("architecture") or "nothing that it names"
    if kind != "segformer" and not kind.startswith("pvt_v2"):
        raise ValueError(
            f"{folder}: config.json describes {kind}; known: segformer, and timm's pvt_v2"
        )
    state = files.read(files.folder_weights(folder), map_location)
    weights = to_ours(state, str(folder), prefer_pvt)
    if kind == "segformer":
        weights.overrides = _overrides(config, weights, folder)
        weights.info = _info(config, folder)
    return weights


def _overrides(config: dict, weights: Weights, folder: Path) -> dict[str, Any]:
    """Say how a configuration differs from the network that we would infer from its tensors."""
    widths, depths = dimensions(weights.state)
    if list(config.get("sr_ratios", SR_RATIOS)) != SR_RATIOS:
        raise ValueError(
            f"{folder}: sr_ratios {config['sr_ratios']} are not SegFormer's {SR_RATIOS}"
        )
    heads = tuple(config.get("num_attention_heads", (1, 2, 5, 8)))
    fitting = (w for w in range(1, max(widths) + 1) if attention_heads(widths, w) == heads)
    head_width = next(fitting, None)
    if head_width is None:
        raise ValueError(f"{folder}: {heads} attention heads do not fit widths {widths}")
    overrides = {}
    if config.get("layer_norm_eps", BLOCK_EPS) != BLOCK_EPS:
        overrides["norm_eps"] = config["layer_norm_eps"]
    if not any(
        (known.options.get("embed_dims"), known.options.get("depths")) == (widths, depths)
        for known in MODELS.values()
    ):
        overrides |= {"embed_dims": widths, "depths": depths, "head_width": head_width}
    return overrides


def _info(config: dict, folder: Path) -> dict[str, Any]:
    names = config.get("id2label") or {}
    classes = [names[index] for index in sorted(names, key=int)]
    info: dict[str, Any] = {}
    if classes and not all(name.startswith("LABEL_") for name in classes):
        info["classes"] = classes
    if "semantic_loss_ignore_index" in config:
        info["ignore_index"] = config["semantic_loss_ignore_index"]
    if (folder / "preprocessor_config.json").exists():
        info["preprocessing"] = _preprocessing(_read_json(folder / "preprocessor_config.json"))
    if (folder / OWN_FILE).exists():
        own = _read_json(folder / OWN_FILE)
        info |= {key: own[key] for key in OWN_FIELDS if key in own}
    return info


def _preprocessing(config: dict) -> dict[str, Any]:
    """Translate ``preprocessor_config.json``; older ones give one number as size of a square."""
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


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object")
    return content


def save_huggingface(
    model: Segmenter,
    folder: str | Path,
    classes: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write a folder that ``SegformerForSemanticSegmentation.from_pretrained`` loads.

    Args:
        model: a SegFormer.
        folder: made where missing; all files are written, or none.
        classes: names of the classes, in order; None writes none.
        info: as of a checkpoint; preprocessing and what only we keep is taken from it.

    Raises:
        ValueError: if the model is no SegFormer, or has not as many classes as are named.
    """
    if not hasattr(model.encoder, "patch_embed1"):
        raise ValueError(f"{model.name} has no Hugging Face layout: only SegFormer has")
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(f"{len(classes)} class names for a model of {model.num_classes} classes")
    info = info or {}
    tensors = {
        key: value.detach().cpu().contiguous()
        for key, value in keys.to_huggingface(model.state_dict()).items()
    }
    preprocessing = Preprocessing.read(info.get("preprocessing") or {})
    documents = {
        "config.json": _config(model, classes, info.get("ignore_index", VOID)),
        "preprocessor_config.json": _preprocessor(preprocessing),
        OWN_FILE: {key: info[key] for key in OWN_FIELDS if info.get(key) is not None},
    }
    writers = {
        name: lambda path, document=document: path.write_text(
            json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8"
        )
        for name, document in documents.items()
    }
    # Not save_file: its file would be readable by its owner alone.
    writers["model.safetensors"] = lambda path: path.write_bytes(
        safetensors.torch.save(tensors, metadata={"format": "pt"})
    )
    write_folder(Path(folder), writers)


def _config(model: Segmenter, classes: Sequence[str] | None, ignore_index: int) -> dict[str, Any]:
    stages = [model.encoder.get_submodule(f"block{stage}") for stage in range(1, 5)]
    first = [blocks[0] for blocks in stages]
    names = classes or [f"LABEL_{index}" for index in range(model.num_classes)]
    return {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "num_channels": 3,
        "num_encoder_blocks": 4,
        "depths": [len(blocks) for blocks in stages],
        "hidden_sizes": list(model.widths),
        "num_attention_heads": [block.attn.num_heads for block in first],
        "sr_ratios": [block.attn.sr_ratio for block in first],
        "mlp_ratios": [block.mlp.fc1.out_features // block.mlp.fc1.in_features for block in first],
        "patch_sizes": [7, 3, 3, 3],
        "strides": [4, 2, 2, 2],
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout_prob": model.head.dropout.p,
        "drop_path_rate": 0.1,
        "layer_norm_eps": model.encoder.norm1.eps,
        "decoder_hidden_size": model.head.linear_pred.in_channels,
        "semantic_loss_ignore_index": ignore_index,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "torch_dtype": "float32",
    }


def _preprocessor(preprocessing: Preprocessing) -> dict[str, Any]:
    size = preprocessing.image_size
    # A short side alone cannot be said there: images keep their size, and sekd.json tells ours.
    fixed = isinstance(size, tuple)
    height, width = size if fixed else (512, 512)
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": fixed,
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_reduce_labels": False,
    }
