"""Class names of mask values or colours: from flags, or from a file beside the masks."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.base import parse_classes
from datasets.description import FILE_NAME as DESCRIPTION
from datasets.description import read_description
from datasets.importing.places import Export
from datasets.reading import Colour, ColoursError, read_image, read_indices

NAMES, LABELMAP = ("classes.txt", "class_names.txt"), "labelmap.txt"
COLOUR_LIST = "label_colors.txt"
PROBED = 8
SHOWN = 6


def name_values(
    export: Export, masks: Sequence[Path]
) -> tuple[Mapping[int, str] | None, Mapping[Colour, str] | None]:
    """Find the class names by mask value or by colour; one of the two results is None.

    Raises:
        ValueError: neither flags nor a file name the classes, or the file is damaged.
    """
    request = export.request
    if request.colours is not None:
        return None, request.colours
    if request.classes is not None:
        return parse_values(request.classes), None
    for path in export.files:
        if path.name.casefold() == LABELMAP:
            return None, read_labelmap(path)
        if path.name.casefold() == COLOUR_LIST:
            return None, read_colour_list(path)
        if path.name == DESCRIPTION and (described := read_description(path.parent)):
            return dict(enumerate(described.classes)) | {described.ignore: "void"}, None
        if path.suffix.lower() == ".csv" and (colours := read_colour_table(path)):
            return None, colours
        if path.name.casefold() in NAMES:
            return dict(enumerate(parse_classes(str(path)))), None
    raise ValueError(_unnamed(export, masks))


def parse_values(text: str) -> dict[int, str]:
    """Read `soil,crop,weed`, a file with one per line, or `0=soil,255=plant`: names by mask value.

    Raises:
        ValueError: not value=name, or a duplicate value.
    """
    if "=" not in text:
        return dict(enumerate(parse_classes(text)))
    names: dict[int, str] = {}
    for entry in text.split(","):
        value, _, name = (part.strip() for part in entry.partition("="))
        if not value.isdecimal() or not name:
            raise ValueError(f"--classes {entry.strip()}: not VALUE=NAME, as in 0=soil,255=plant")
        if int(value) in names:
            raise ValueError(f"--classes {entry.strip()}: the value {value} is named twice")
        names[int(value)] = name
    return names


def read_labelmap(path: Path) -> dict[Colour, str]:
    """Read CVAT's `labelmap.txt`: lines of name:red,green,blue:parts:actions.

    Raises:
        ValueError: a line is not of this form.
    """
    colours: dict[Colour, str] = {}
    for line in _lines(path):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        colour = _colour(rest.partition(":")[0].split(","))
        if colour is None or not name:
            raise ValueError(f"{path}: {line!r} is not name:red,green,blue::; export it again")
        _name_colour(colours, colour, name, path)
    return colours


def read_colour_list(path: Path) -> dict[Colour, str]:
    """Read CamVid's `label_colors.txt`: lines of red green blue name.

    Raises:
        ValueError: a line is not of this form.
    """
    colours: dict[Colour, str] = {}
    for line in _lines(path):
        red, green, blue, name = (*line.split(maxsplit=3), *[""] * 4)[:4]
        colour = _colour((red, green, blue))
        if colour is None or not name:
            raise ValueError(f"{path}: {line!r} is not red green blue name")
        _name_colour(colours, colour, name, path)
    return colours


def _name_colour(colours: dict[Colour, str], colour: Colour, name: str, path: Path) -> None:
    """Add a colour and its class name; raise if the colour is taken."""
    if colour in colours:
        raise ValueError(f"{path}: {name} and {colours[colour]} have one colour; change one")
    colours[colour] = name


def read_colour_table(path: Path) -> dict[Colour, str]:
    """Read a table such as `class_dict.csv`, of name, r, g, b; empty for any other table."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(_lines(path))]
    if not rows or [cell.casefold() for cell in rows[0][1:4]] != ["r", "g", "b"]:
        return {}
    named = {_colour(row[1:4]): row[0] for row in rows[1:] if len(row) >= 4}
    colours = {colour: name for colour, name in named.items() if colour is not None}
    if len(colours) < len(named) or len(colours) < 2:
        raise ValueError(f"{path}: expected rows of name, r, g, b with numbers of 0 to 255")
    return colours


def _colour(texts: Sequence[str]) -> Colour | None:
    if len(texts) != 3 or not all(text.strip().isdecimal() for text in texts):
        return None
    red, green, blue = (int(text) for text in texts)
    return (red, green, blue) if max(red, green, blue) <= 255 else None


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _unnamed(export: Export, masks: Sequence[Path]) -> str:
    """Return an error message with the values in the masks and the flag to name them."""
    step = max(1, len(masks) // PROBED)
    values: Counter = Counter()
    for path in masks[::step]:
        try:
            found, counts = np.unique(read_ids(path), return_counts=True)
        except ColoursError:
            return _unnamed_colours(export, path)
        values.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    told = ", ".join(str(value) for value in sorted(values)[:40])
    advice = "--classes NAME0,NAME1,... in the order of the ids; --ignore VALUE for `do not count`"
    if set(values) == {0, 255}:
        advice = "--classes 0=soil,255=plant"
    return f"--input {export.request.path}: masks hold the values {told}; name them: {advice}"


def _unnamed_colours(export: Export, path: Path) -> str:
    pixels = read_image(path).numpy().reshape(3, -1).T
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    order = np.argsort(-counts)[:SHOWN]
    told = " ".join(f"{r},{g},{b}" for r, g, b in found[order].tolist())
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"--input {export.request.path}: masks hold colours, in {path.name} {told}{more}; name "
        "them: --colors soil=0,0,0 crop=0,255,0 ..., or add a labelmap.txt"
    )


def read_ids(path: Path) -> np.ndarray:
    """Read a mask of ids, integers (H, W); three equal channels count as one.

    Raises:
        ValueError: it is damaged.
        ColoursError: it contains colours.
    """
    try:
        return read_indices(path)
    except ColoursError:
        pixels = read_image(path).numpy()
        if (pixels == pixels[0]).all():
            return pixels[0]
        raise ColoursError(
            f"{path}: holds colours, not ids; name them with --colors soil=0,0,0 crop=0,255,0 ... "
            "instead of --classes"
        ) from None
