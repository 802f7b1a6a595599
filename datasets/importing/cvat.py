"""CVAT for images 1.1: annotations.xml with polygons, masks, boxes and ellipses per image."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from datasets.importing.folder_words import SPLITS
from datasets.importing.places import Export
from datasets.importing.raster import ellipse, place, rectangle, ring, turn
from datasets.importing.records import Region, Sample, Source

WITH_AREA = ("polygon", "mask", "box", "ellipse")
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


def detect(export: Export) -> bool:
    """Look for an XML file with the root element `annotations`."""
    return bool(_roots(export))


def read(export: Export) -> Source:
    """Read all CVAT files; a subset named train, val or test determines the split.

    Raises:
        ValueError: a file contains video tracks, or a shape is not as CVAT writes it.
        FileNotFoundError: an image is missing.
    """
    samples: list[Sample] = []
    names: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    for path, root in _roots(export):
        if root.find("track") is not None:
            raise ValueError(f"{path}: holds tracks of a video; export as `CVAT for images 1.1`")
        names |= dict.fromkeys(
            (label.findtext("name") or "").strip() for label in root.iterfind("meta//labels/label")
        )
        for image in root.iterfind("image"):
            sample = _sample(export, path, image, left_out)
            samples.append(sample)
            names |= dict.fromkeys(region.name for region in sample.regions or ())
    return Source(samples, tuple(name for name in names if name), left_out=left_out)


def _roots(export: Export) -> list[tuple[Path, ElementTree.Element]]:
    roots = [(path, export.xml(path)) for path in export.annotations(".xml")]
    return [(path, root) for path, root in roots if root.tag == "annotations"]


def _sample(export: Export, path: Path, image: ElementTree.Element, left_out: Counter) -> Sample:
    name = image.get("name") or ""
    where = f"{path}: image {name!r}"
    regions = []
    for shape in image:
        if shape.tag in WITHOUT_AREA:
            left_out[f"shapes of type {shape.tag}"] += 1
        elif shape.tag in WITH_AREA:
            regions.append(_region(shape, where))
    try:
        size = int(image.get("height", "")), int(image.get("width", ""))
    except ValueError:
        raise ValueError(f"{where} has no width and height; export it again") from None
    subset = SPLITS.get((image.get("subset") or "").casefold()) or export.split_of(path)
    found = export.find_image(name, path)
    return Sample(found, path, subset, tuple(regions), size)


def _region(shape: ElementTree.Element, where: str) -> Region:
    name = (shape.get("label") or "").strip()
    if not name:
        raise ValueError(f"{where}: a {shape.tag} without a label; give it one in CVAT")
    try:
        order = float(shape.get("z_order", "0"))
        if shape.tag == "mask":
            return Region(name, mask=_mask(shape, where), order=order)
        return Region(name, (_ring(shape, where),), order=order)
    except (TypeError, ValueError) as error:
        if str(error).startswith(where):
            raise
        raise ValueError(f"{where}: a {shape.tag} lacks its place or size; export again") from error


def _ring(shape: ElementTree.Element, where: str) -> np.ndarray:
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        return ring([[float(number) for number in pair] for pair in pairs], where)
    angle = float(shape.get("rotation", "0"))
    if shape.tag == "box":
        left, top, right, bottom = (
            float(shape.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr")
        )
        return turn(
            rectangle(left, top, right, bottom), angle, ((left + right) / 2, (top + bottom) / 2)
        )
    x, y, radius_x, radius_y = (float(shape.get(key, "")) for key in ("cx", "cy", "rx", "ry"))
    return turn(ellipse(x, y, radius_x, radius_y), angle, (x, y))


def _mask(shape: ElementTree.Element, where: str) -> Callable[[tuple[int, int]], np.ndarray]:
    """Read run lengths, background first, row by row within the mask's bounding box."""
    runs = [int(number) for number in shape.get("rle", "").split(",")]
    left, top, width, height = (
        int(shape.get(key, "")) for key in ("left", "top", "width", "height")
    )
    if min(runs) < 0 or sum(runs) != width * height:
        raise ValueError(
            f"{where}: the runs of a mask are of {sum(runs)} px, its box of {width} x {height}; "
            "export it again"
        )
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return partial(place, values.reshape(height, width), left, top)
