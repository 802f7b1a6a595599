"""YOLO polygons: a text file per image, a line per object: class id, then x y ... in 0 to 1."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from command_line.documents import read_yaml
from datasets.files import same_name
from datasets.importing.folder_words import split_of
from datasets.importing.places import Export
from datasets.importing.raster import area, ring
from datasets.importing.records import Region, Sample, Source

NAME_FILES = ("classes.txt", "obj.names")
LINE = re.compile(r"^\d+(\s+-?[\d.]+(e[+-]?\d+)?)+$", re.IGNORECASE)
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap the sides


def detect(export: Export) -> bool:
    """Look for a text file whose first line is a label."""
    if export.file is not None:
        return False
    texts = _texts(export)  # empty ones are of images without objects
    return any(map(_is_label, texts))


def read(export: Export) -> Source:
    """Read the labels of all images; an image without a label file has no objects.

    Raises:
        ValueError: a line is not a polygon, or its class has no name.
        FileNotFoundError: the class names or a label's image are missing.
    """
    names = _names(export)
    texts = {_key(export, path): path for path in _texts(export)}
    images: dict[tuple[str, ...], Path] = {}
    for path in export.images:
        if (other := images.setdefault(_key(export, path), path)) != path:
            raise ValueError(f"{path}: has the name, and so the label, of {other}; rename one")
    for key, path in texts.items():
        if key not in images and path.read_text(encoding="utf-8-sig").strip():
            raise FileNotFoundError(
                f"{path}: label without an image {PurePosixPath(*key).name}.jpg (or .png) in "
                f"{export.root}; put it there, or name the images' folder with --images"
            )
    samples = []
    for key, path in images.items():
        label = texts.get(key)
        regions = () if label is None else tuple(_regions(label, _image_size(path), names))
        split = split_of(export.relative(path))
        samples.append(Sample(path, label or path, split, regions))
    return Source(samples, tuple(names.values()))


def _texts(export: Export) -> list[Path]:
    return [
        path
        for path in export.files
        if path.suffix.lower() == ".txt"
        and path.name not in NAME_FILES
        and not path.name.casefold().startswith("readme")
        and path.name.casefold() not in ("train.txt", "val.txt", "test.txt", "labelmap.txt")
    ]


def _is_label(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        return bool(LINE.match(lines.readline().strip()))


def _key(export: Export, path: Path) -> tuple[str, ...]:
    """Key shared by an image and its label: the path without suffix, `images` and `labels`."""
    parts = export.relative(path).with_suffix("").parts
    return tuple(same_name(part) for part in parts if part.lower() not in ("images", "labels"))


def _names(export: Export) -> dict[int, str]:
    """Read the class names by id, from --classes, data.yaml, or a file with one per line."""
    if export.request.classes is not None:
        text, path = export.request.classes, Path(export.request.classes)
        names = (
            path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else text.split(",")
        )
        return dict(enumerate(name.strip() for name in names if name.strip()))
    for path in export.files:
        if path.suffix.lower() in (".yaml", ".yml"):
            content = read_yaml(path)
            listed = content.get("names") if isinstance(content, dict) else None
            if isinstance(listed, dict) and listed:
                if not all(isinstance(key, int) for key in listed):
                    raise ValueError(f"{path}: names: the ids of classes must be numbers")
                return {key: str(listed[key]).strip() for key in sorted(listed)}
            if isinstance(listed, list) and listed:
                return {index: str(name).strip() for index, name in enumerate(listed)}
        if path.name in NAME_FILES:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return dict(enumerate(line.strip() for line in lines if line.strip()))
    raise FileNotFoundError(
        f"--input {export.root}: YOLO labels without class names: neither data.yaml with `names` "
        "nor classes.txt is there; add one, or name them with --classes in the order of the ids"
    )


def _regions(path: Path, size: tuple[int, int], names: Mapping[int, str]) -> Iterator[Region]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        where = f"{path}: line {number}"
        if not line.strip():
            continue
        if not LINE.match(line.strip()):
            raise ValueError(f"{where}: not a class id with coordinates; export it again")
        index, *numbers = line.split()
        if int(index) not in names:
            known = ", ".join(f"{number} {name}" for number, name in names.items())
            raise ValueError(
                f"{where}: class {index}, but {len(names)} are named ({known}); name all in "
                "data.yaml, or with --classes"
            )
        if len(numbers) == 4:
            raise ValueError(f"{where}: a box, not a polygon; export the segmentation of the data")
        if len(numbers) < 6 or len(numbers) % 2:
            raise ValueError(
                f"{where}: {len(numbers)} coordinates; a polygon has 6 or more, in pairs"
            )
        corners = ring(np.array(numbers, np.float64).reshape(-1, 2), where)
        if np.abs(corners).max() > 2:
            raise ValueError(f"{where}: coordinates in px; YOLO's are shares of the image, 0 to 1")
        yield Region(names[int(index)], (corners * (size[1], size[0]),), order=-area(corners))


def _image_size(path: Path) -> tuple[int, int]:
    """Read (height, width) in px, with EXIF orientation applied, without decoding the image.

    Raises:
        ValueError: the file is not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Pillow gives the sides of a TIFF as they are after turning it.
            turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable image, damaged or of another kind") from error
    return (width, height) if turned else (height, width)
