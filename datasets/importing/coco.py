"""COCO instances: JSON with images, categories, and polygons or RLE masks (Lin et al. 2014)."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from datasets.importing.places import Export, parsing
from datasets.importing.raster import area, ring
from datasets.importing.records import Region, Sample, Source

LARGEST = 1 << 28  # px of an image


def detect(export: Export) -> bool:
    """Look for a JSON file with images and annotations."""
    return bool(_files(export))


def read(export: Export) -> Source:
    """Read all COCO files; the split of the images is in the name of the file or its folder.

    Raises:
        ValueError: a file does not follow the COCO format.
        FileNotFoundError: an image is missing.
    """
    samples: list[Sample] = []
    names: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    for path in _files(export):
        content = export.json(path)
        with parsing(path, "COCO"):
            categories = _categories(path, content)
            names |= dict.fromkeys(categories.values())
            samples += _samples(export, path, content, categories, left_out)
    return Source(samples, tuple(names), left_out=left_out)


def _files(export: Export) -> list[Path]:
    keys = {"images", "annotations"}
    return [
        path
        for path in export.annotations(".json")
        if isinstance(content := export.json(path), dict) and keys <= content.keys()
    ]


def _categories(path: Path, content: dict) -> dict[int, str]:
    if not content.get("categories"):
        raise ValueError(f"{path}: no categories in it, which name the classes; export it again")
    try:
        return {entry["id"]: str(entry["name"]).strip() for entry in content["categories"]}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: a category without id and name; export it again") from error


def _samples(
    export: Export, path: Path, content: dict, categories: dict[int, str], left_out: Counter
) -> list[Sample]:
    try:
        listed = [
            (entry["id"], str(entry["file_name"]), (int(entry["height"]), int(entry["width"])))
            for entry in content["images"]
        ]
        entries = {number: (name, size) for number, name, size in listed}
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: an image without id, file_name, width and height") from error
    if len(entries) < len(listed):
        numbers = Counter(number for number, _, _ in listed)
        raise ValueError(
            f"{path}: two images have the id {numbers.most_common(1)[0][0]}; export it again"
        )
    regions: dict[Any, list[Region]] = {number: [] for number in entries}
    for annotation in content["annotations"]:
        if not isinstance(annotation, dict) or annotation.get("image_id") not in entries:
            told = annotation.get("id") if isinstance(annotation, dict) else annotation
            raise ValueError(f"{path}: annotation {told} is of an image that is not listed")
        image = annotation["image_id"]
        region = _region(path, annotation, entries[image][1], categories)
        if region is None:
            left_out["objects without a segmentation"] += 1
        else:
            regions[image].append(region)
    split = export.split_of(path)
    return [
        Sample(export.find_image(name, path), path, split, tuple(regions[key]), size)
        for key, (name, size) in entries.items()
    ]


def _region(
    path: Path, annotation: dict[str, Any], size: tuple[int, int], categories: dict[int, str]
) -> Region | None:
    """Convert an annotation to a region; large ones are painted first, as COCO has no order."""
    if "segments_info" in annotation:
        raise ValueError(f"{path}: COCO's panoptic format; export instances, or masks of classes")
    where = f"{path}: annotation {annotation.get('id')}"
    category = annotation.get("category_id")
    name = None if category is None else categories.get(category)
    if name is None:
        raise ValueError(
            f"{where} is of category {category}, which the file does not "
            f"list; known: {', '.join(f'{k} {v}' for k, v in categories.items())}"
        )
    shape = annotation.get("segmentation")
    if not shape:
        return None
    if isinstance(shape, dict):
        rle = check_rle(shape, size, where)
        return Region(name, mask=partial(_decode, rle), order=-float(coco_mask.area(rle)))
    if not isinstance(shape, list) or not all(
        isinstance(part, list) and len(part) % 2 == 0 for part in shape
    ):
        raise ValueError(f"{where}: segmentation is neither lists of x, y nor an RLE")
    rings = tuple(ring(np.array(part).reshape(-1, 2), where) for part in shape if len(part) >= 6)
    if not rings:
        return None
    return Region(name, rings, order=-sum(map(area, rings)))


def check_rle(shape: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """Validate a compressed or uncompressed RLE and return it compressed.

    Raises:
        ValueError: its size differs from the image's, or its runs do not fill the image.
    """
    stated, counts = shape.get("size"), shape.get("counts", "")
    if stated != list(size):
        raise ValueError(
            f"{where}: its RLE is of size {stated}, its image {list(size)} (height, width); "
            "export both at one size"
        )
    height, width = size
    if not 0 < height * width <= LARGEST:
        raise ValueError(f"{where}: an image of {width} x {height} px")
    try:
        if isinstance(counts, list):
            if sum(counts) != height * width or min(counts) < 0:
                raise ValueError
            return coco_mask.frPyObjects(shape, height, width)
        if sum(runs := unpack(counts)) != height * width or min(runs) < 0:
            raise ValueError
        return {"size": stated, "counts": counts.encode("ascii")}
    except (ValueError, TypeError, AttributeError, UnicodeEncodeError):
        raise ValueError(
            f"{where}: the runs of its RLE do not fill {width} x {height} px"
        ) from None


def unpack(counts: str) -> list[int]:
    """Decode a compressed RLE to run lengths: 5 bits per character, lowest first, offset by "0".

    Bit 5 means that the number continues, bit 4 of its last character is the sign, and from the
    fourth run on, the difference to the second last run is stored (cocoapi, maskApi.c).
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _decode(rle: dict, size: tuple[int, int]) -> np.ndarray:
    return coco_mask.decode(rle).astype(bool)
