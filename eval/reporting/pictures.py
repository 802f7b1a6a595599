"""Pictures of label maps: colours, overlays, titled rows and legends."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.legend import Entries, legend_strip, shorten
from datasets.palettes import void_colour

ERROR_COLOUR = (255, 0, 140)  # unlike crop, weed or soil
BACKGROUND_COLOUR = (0, 0, 0)  # of classes that overlays leave uncoloured
TITLE_HEIGHT = 22
GAP = 6
VOID_TITLE = "not labelled"


def spread(total: int, count: int) -> list[int]:
    """Choose up to `count` indices below `total`, evenly spaced from the first to the last."""
    return np.linspace(0, total - 1, min(count, total), dtype=int).tolist()


def colorize(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colour a label map (H, W) with the palette; values beyond it get the colour of void.

    Returns:
        (H, W, 3) uint8.
    """
    colours = np.tile(np.array(void_colour(palette), np.uint8), (256, 1))
    colours[: len(palette)] = np.array(palette, np.uint8)
    return colours[label.astype(np.uint8)]


def overlay(
    image: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.5
) -> np.ndarray:
    """Blend the colours of a label map (H, W) into an image (H, W, 3) uint8 of the same size.

    Black classes, such as soil and background, and void are not drawn, so that the image is not
    darkened there. Other regions have an opaque outline.
    """
    colours = colorize(label, palette)
    mixed = cv2.addWeighted(image, 1 - opacity, colours, opacity, 0)
    plain = np.ones(256, bool)
    plain[: len(palette)] = [tuple(colour) == BACKGROUND_COLOUR for colour in palette]
    thickness = max(1, round(min(label.shape) / 600))
    square = np.ones((3, 3), np.uint8)
    edge = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, square, iterations=thickness) > 0
    mixed[edge] = colours[edge]
    return np.where(plain[label][..., None], image, mixed)


def legend_entries(
    classes: Sequence[str], palette: Sequence[Sequence[int]], void: bool = True
) -> list[tuple[str, tuple[int, int, int]]]:
    """List a legend's entries: the classes with their colours and, if wanted, void."""
    named = zip(classes, palette, strict=True)
    entries = [(name, (red, green, blue)) for name, (red, green, blue) in named]
    return [*entries, (VOID_TITLE, void_colour(palette))] if void else entries


def add_legend(picture: np.ndarray, entries: Entries) -> np.ndarray:
    """Add a legend below a picture (H, W, 3) uint8."""
    strip = legend_strip(entries, picture.shape[1], ImageFont.load_default(size=14))
    gap = np.full((GAP, picture.shape[1], 3), 255, np.uint8)
    return np.concatenate((picture, gap, strip))


def inset_legend(picture: np.ndarray, entries: Entries) -> np.ndarray:
    """Draw a legend into the upper left corner of a picture (H, W, 3) uint8, if there is room.

    The picture keeps its size. Many names are listed in columns; a legend that would cover more
    than half of the width or of the height is omitted.
    """
    height, width = picture.shape[:2]
    size = int(np.clip(min(height, width) / 36, 11, 60))
    font = ImageFont.load_default(size=size)
    line = round(1.4 * size)
    column = 3 * size + max((int(font.getlength(name)) for name, _ in entries), default=0)
    rows = min(len(entries), (height // 2 - size // 2) // line)
    wide = column * -(-len(entries) // max(1, rows))
    tall = line * rows + size // 2
    if rows < 1 or 2 * wide > width:
        return picture
    page = Image.fromarray(picture)
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, wide, tall), "white", "black")
    for index, (name, colour) in enumerate(entries):
        left, top = index // rows * column, size // 4 + index % rows * line
        swatch = left + size // 2
        pen.rectangle((swatch, top + 2, swatch + size, top + 2 + size), colour, "black")
        pen.text((left + 2 * size, top + 1), name, "black", font)
    return np.array(page)


def error_map(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Paint wrong pixels (H, W) bool in `ERROR_COLOUR` on a pale grey copy of the image.

    Args:
        image: (H, W, 3) uint8.
        wrong: labelled pixels that were predicted wrongly.

    Returns:
        (H, W, 3) uint8.
    """
    grey = np.asarray(Image.fromarray(image).convert("L"))
    pale = (140 + grey * 0.45).astype(np.uint8)[..., None].repeat(3, axis=2)
    pale[wrong] = ERROR_COLOUR
    return pale


def titled_row(pictures: dict[str, np.ndarray], height: int = 320) -> np.ndarray:
    """Put pictures (H, W, 3) uint8 side by side at the same height, each under its title."""
    font = ImageFont.load_default(size=14)
    tiles = []
    for title, picture in pictures.items():
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        tile = Image.new("RGB", (width, height + TITLE_HEIGHT), "white")
        tile.paste(Image.fromarray(picture).resize((width, height)), (0, TITLE_HEIGHT))
        title = shorten(title, width - 4, font)
        ImageDraw.Draw(tile).text((2, 3), title, fill="black", font=font)
        tiles.append(np.asarray(tile))
        tiles.append(np.full((tile.height, GAP, 3), 255, np.uint8))
    return np.concatenate(tiles[:-1], axis=1)


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Put rows (H, W, 3) below each other; narrower ones are padded with white."""
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(padded, axis=0)
