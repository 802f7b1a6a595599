"""labelme: one JSON file per image, with a list of shapes (github.com/wkentaro/labelme)."""

import base64
import binascii
import io
import math
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.importing.places import Export, parsing
from datasets.importing.raster import ellipse, place, rectangle, ring
from datasets.importing.records import Region, Sample, Source

WITHOUT_AREA = ("point", "points", "line", "linestrip")


def detect(export: Export) -> bool:
    """Look for shapes and an image path in the first five JSON files."""
    return any(_is_labelme(export, path) for path in export.annotations(".json")[:5])


def read(export: Export) -> Source:
    """Read all labelme files in the folder; other JSON files are skipped.

    Raises:
        ValueError: a shape is not as labelme writes it.
        FileNotFoundError: an image is missing.
    """
    samples: list[Sample] = []
    names: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    for path in export.annotations(".json"):
        if not _is_labelme(export, path):
            continue
        content = export.json(path)
        with parsing(path, "labelme"):
            regions = []
            for number, shape in enumerate(content["shapes"]):
                region = _region(shape, f"{path}: shape {number}", left_out)
                if region is not None:
                    regions.append(region)
                    names[region.name] = None
            image = export.find_image(str(content["imagePath"]), path)
            samples.append(
                Sample(image, path, export.split_of(path), tuple(regions), _size(content))
            )
    return Source(samples, tuple(names), left_out=left_out)


def _is_labelme(export: Export, path: Path) -> bool:
    content = export.json(path)
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and "imagePath" in content
    )


def _size(content: dict) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _region(shape: object, where: str, left_out: Counter) -> Region | None:
    if not isinstance(shape, dict) or not str(shape.get("label") or "").strip():
        raise ValueError(f"{where} has no label; name it in labelme")
    name, kind = str(shape["label"]).strip(), shape.get("shape_type") or "polygon"
    if kind in WITHOUT_AREA:
        left_out[f"shapes of type {kind}"] += 1
        return None
    points = ring(shape.get("points"), where)
    if kind in ("polygon", "oriented_rectangle"):
        return Region(name, (points,))
    if kind not in ("rectangle", "circle", "mask") or len(points) != 2:
        raise ValueError(f"{where}: a {kind} of {len(points)} points cannot be painted")
    (x, y), (end_x, end_y) = points.tolist()
    if kind == "rectangle":
        return Region(name, (rectangle(x, y, end_x, end_y),))
    if kind == "circle":
        radius = math.hypot(end_x - x, end_y - y)
        return Region(name, (ellipse(x, y, radius, radius),))
    return Region(name, mask=partial(place, _patch(shape, where), int(x), int(y)))


def _patch(shape: dict, where: str) -> np.ndarray:
    """Read the PNG of a mask, which covers the shape's bounding box: bool (h, w)."""
    try:
        data = base64.b64decode(shape.get("mask") or "", validate=True)
        return np.array(Image.open(io.BytesIO(data)).convert("L")) > 0
    except (binascii.Error, OSError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: its mask is not a readable PNG; draw it again") from error
