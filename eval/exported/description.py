"""Metadata of an exported file: all that a robot, or `eval.py`, needs to use it."""

import json
from collections.abc import Mapping
from typing import Any

from conventions.preprocessing import Preprocessing
from models.reading import INFO

# Keeps 0..255 unchanged, for graphs that include preprocessing.
UNTOUCHED = Preprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3)


def describe(info: dict[str, Any], takes_bytes: bool, parameters: int) -> dict[str, str]:
    """Return the metadata of an exported network, each value as JSON.

    `image_size` is a short side in px, `[height, width]`, or `"native"`: images are not
    resized. `mean` and `std` are for RGB images in 0..1.

    Args:
        info: the checkpoint's metadata.
        takes_bytes: whether the graph takes uint8 RGB images and includes preprocessing.
        parameters: number of parameters of the network.
    """
    preprocessing = info["preprocessing"]
    facts = {
        "architecture": info["architecture"],
        "classes": info["classes"],
        "palette": info["palette"],
        "input": "uint8 RGB" if takes_bytes else "(RGB / 255 - mean) / std",
        "image_size": preprocessing.get("image_size") or "native",
        "mean": preprocessing["mean"],
        "std": preprocessing["std"],
        "protocol": preprocessing.get("protocol"),
        "dataset": info["dataset"],
        "method": info["method"],
        "seed": info["seed"],
        "parameters": parameters,
    }
    return {key: json.dumps(value) for key, value in facts.items() if value is not None}


def read_description(facts: Mapping[str, str], source: str) -> dict[str, Any]:
    """Convert `describe`'s metadata to the info that `models.load_checkpoint` returns.

    The preprocessing is what the graph still needs: none for one that takes uint8 images.

    Args:
        facts: metadata of the file; entries of other tools are ignored.
        source: the file, for error messages.

    Raises:
        ValueError: the file was not written by export.py.
    """
    known = ("architecture", "classes", "palette", "input", "image_size", "mean", "std",
             "protocol", "dataset", "method", "seed", "parameters")  # fmt: skip
    try:
        read = {key: json.loads(facts[key]) for key in known if key in facts}
        size = read.get("image_size", "native")
        preprocessing = {"mean": read["mean"], "std": read["std"]}
        if read["input"] == "uint8 RGB":
            preprocessing = {key: UNTOUCHED.plain()[key] for key in ("mean", "std")}
        architecture = read["architecture"]
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{source}: does not say how images are prepared for it: export it with eval/export.py"
        ) from error
    preprocessing["image_size"] = None if size == "native" else size
    preprocessing["protocol"] = read.get("protocol") or "standard"
    kept = ("classes", "palette", "dataset", "method", "seed", "parameters")
    return INFO | {key: read[key] for key in kept if key in read} | {
        "preprocessing": preprocessing,
        "architecture": architecture,
        "overrides": {},
        "format": "exported",
    }  # fmt: skip
