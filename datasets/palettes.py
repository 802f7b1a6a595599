"""Colours for classes: PASCAL VOC's, and distinct ones for a user's own classes."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from datasets.base import PLANT_CLASSES, PLANT_PALETTE
from datasets.reading import Colour

# Okabe and Ito's colours, which colour-blind readers can tell apart; black is the background's.
SAFE_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
# Colours of the page, of void, and of the background, which overlays leave uncoloured.
RESERVED_COLOURS: tuple[Colour, ...] = ((255, 255, 255), (128, 128, 128), (0, 0, 0))
NEAREST = 30.0  # least CIELAB distance of a safe colour to those taken
LEVELS = (0, 51, 102, 153, 204, 255)  # channel values of further colours
DARKEST = 30.0  # least CIELAB lightness of further colours: darker ones darken overlays


def make_palette(count: int) -> tuple[Colour, ...]:
    """Make the PASCAL VOC colours: bits of the id go to red, green and blue in turn."""
    colours: list[Colour] = []
    for index in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
        colours.append((channels[0], channels[1], channels[2]))
    return tuple(colours)


def class_palette(classes: Sequence[str]) -> tuple[Colour, ...]:
    """Choose a colour per class; soil, crop, weed and background have fixed ones.

    Other classes get Okabe and Ito's colours, which colour-blind readers can tell apart, then the
    colours that are farthest from all others in CIELAB (Glasbey et al., "Colour displays for
    categorical images", Color Research and Application 2007). None is near white or near the grey
    of void, and none is so dark that it hides the photograph in overlays.
    """
    known = dict(zip(PLANT_CLASSES, PLANT_PALETTE, strict=True)) | {"background": PLANT_PALETTE[0]}
    chosen: dict[str, Colour] = {}
    for name in classes:
        colour = known.get(name.casefold())
        if colour is not None and colour not in chosen.values():
            chosen[name] = colour
    missing = [name for name in classes if name not in chosen]
    distinct = distinct_colours(len(missing), tuple(chosen.values()))
    chosen |= dict(zip(missing, distinct, strict=True))
    return tuple(chosen[name] for name in classes)


@cache
def distinct_colours(count: int, taken: tuple[Colour, ...] = ()) -> tuple[Colour, ...]:
    """Choose `count` colours distinct from each other, from `taken` and `RESERVED_COLOURS`."""
    far = np.array(RESERVED_COLOURS + taken, np.uint8)
    chosen: list[Colour] = []
    for colour in SAFE_COLOURS[:count]:
        if colour_distances(np.array([colour]), far).min() >= NEAREST:
            chosen.append(colour)
    candidates = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij"), -1).reshape(-1, 3)
    candidates = candidates[_lab(candidates)[:, 0] >= DARKEST]
    if count > 100:  # too many for so coarse a grid
        candidates = np.array(make_palette(256))
    nearest = colour_distances(candidates, np.vstack((far, np.array(chosen).reshape(-1, 3)))).min(1)
    while len(chosen) < count:
        best = int(nearest.argmax())
        chosen.append(tuple(candidates[best].tolist()))
        nearest = np.minimum(
            nearest, colour_distances(candidates, candidates[best : best + 1])[:, 0]
        )
    return tuple(chosen)


def void_colour(palette: Sequence[Sequence[int]]) -> Colour:
    """Choose the colour of void: grey, or else a neutral colour far from all class colours."""
    neutral = [(128, 128, 128), (255, 255, 255), (192, 192, 192), (64, 64, 64), (224, 224, 192)]
    nearest = colour_distances(np.array(neutral), np.array(palette)).min(1)
    suits = np.flatnonzero(nearest >= NEAREST)
    return neutral[suits[0] if len(suits) else int(nearest.argmax())]


def parse_colour(text: str) -> tuple[str, Colour]:
    """Read `name=red,green,blue`.

    Raises:
        ValueError: the text is not of this form.
    """
    name, _, numbers = (part.strip() for part in text.partition("="))
    try:
        colour = tuple(int(number) for number in numbers.split(","))
    except ValueError:
        colour = ()
    if not name or len(colour) != 3 or not all(0 <= channel <= 255 for channel in colour):
        raise ValueError(f"--colors {text}: not name=red,green,blue with numbers of 0 to 255")
    return name, colour


def recolour(
    classes: Sequence[str], palette: Sequence[Colour], texts: Sequence[str]
) -> tuple[Colour, ...]:
    """Override colours of the palette by `--colors`, one `name=red,green,blue` per class.

    Raises:
        ValueError: an unknown or duplicate class, or two classes with the same colour.
    """
    ids = {name.casefold(): index for index, name in enumerate(classes)}
    wanted: dict[int, Colour] = {}
    for name, colour in map(parse_colour, texts):
        index = ids.get(name.casefold())
        if index is None:
            raise ValueError(f"--colors {name}: unknown class; known: {', '.join(classes)}")
        if index in wanted:
            raise ValueError(f"--colors {name}: this class is given twice")
        wanted[index] = colour
    kept = [wanted.get(index, colour) for index, colour in enumerate(palette)]
    colours = [(red, green, blue) for red, green, blue in kept]
    for index, colour in wanted.items():
        if colours.count(colour) > 1:
            raise ValueError(
                f"--colors {classes[index]}={','.join(map(str, colour))}: another class has "
                "this colour; choose different ones"
            )
    return tuple(colours)


def colour_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return CIELAB distances (N, M) between RGB colours (N, 3) and (M, 3), 0 to 255."""
    return np.linalg.norm(_lab(first)[:, None] - _lab(second)[None], axis=2)


def _lab(colours: np.ndarray) -> np.ndarray:
    """Convert RGB colours (N, 3), 0 to 255, to CIELAB (N, 3)."""
    return cv2.cvtColor((colours[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
