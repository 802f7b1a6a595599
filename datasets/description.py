"""`dataset.yaml`: describes a data set in VOC layout, so that no flags are needed.

`classes` lists the names in the order of their ids, `colors` a [red, green, blue] for each, and
`ignore` is the label value of pixels that do not count; the last two are optional.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from command_line.documents import read_yaml
from conventions.labels import VOID
from datasets.base import check_classes
from datasets.palettes import class_palette
from datasets.reading import Colour

FILE_NAME = "dataset.yaml"
_KEYS = ("classes", "colors", "ignore")


@dataclass(frozen=True)
class Description:
    """Classes in the order of their ids, a colour for each, and the label value of void."""

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore: int = VOID


def describe(classes: Sequence[str]) -> Description:
    """Describe data with these classes, in their default colours."""
    return Description(tuple(classes), class_palette(classes))


def write_description(root: Path, description: Description) -> None:
    """Write `dataset.yaml` into a data set's folder."""
    colours = "".join(f"  - [{r}, {g}, {b}]\n" for r, g, b in description.palette)
    names = yaml.safe_dump(list(description.classes), allow_unicode=True)
    text = (
        "# Read by every command in place of --classes. Colours are red, green, blue.\n"
        f"classes:\n{names}colors:\n{colours}ignore: {description.ignore}\n"
    )
    (root / FILE_NAME).write_text(text, encoding="utf-8")


def read_description(root: Path) -> Description | None:
    """Read the `dataset.yaml` in a data set's folder; None if there is none.

    Raises:
        ValueError: it is not YAML, or a key is missing, unknown or of the wrong type.
    """
    path = root / FILE_NAME
    if not path.is_file():
        return None
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"{path}: not a readable YAML file; see docs/quickstart.md") from error
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
        raise ValueError(f"{path}: expected `classes:` with a list of names")
    if unknown := sorted(str(key) for key in content if key not in _KEYS):
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(_KEYS)}")
    # YAML reads `on` and `no` as booleans, and digits as numbers.
    if wrong := [name for name in content["classes"] if not isinstance(name, str)]:
        raise ValueError(f"{path}: class {wrong[0]!r} is not text; put it in quotation marks")
    classes = check_classes([name.strip() for name in content["classes"]], f"{path}: classes")
    palette = _read_colours(path, content.get("colors"), classes)
    return Description(classes, palette, _read_ignore(path, content.get("ignore", VOID), classes))


def _read_colours(path: Path, colours: object, classes: Sequence[str]) -> tuple[Colour, ...]:
    if colours is None:
        return class_palette(classes)
    if not isinstance(colours, list) or not all(_is_colour(colour) for colour in colours):
        raise ValueError(f"{path}: colors: expected lists of red, green, blue from 0 to 255")
    if len(colours) != len(classes):
        raise ValueError(f"{path}: {len(colours)} colors for {len(classes)} classes; give each one")
    return tuple((r, g, b) for r, g, b in colours)


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(channel) is int and 0 <= channel <= 255 for channel in value)
    )


def _read_ignore(path: Path, value: object, classes: Sequence[str]) -> int:
    if type(value) is not int or not len(classes) <= value <= VOID:
        raise ValueError(
            f"{path}: ignore: {value!r} is not a label value of {len(classes)} (the number of "
            f"classes) to {VOID}"
        )
    return value
