"""A picture of three overlays, to check whether images and labels match."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from conventions.labels import VOID
from datasets.class_names import is_ground
from datasets.legend import LINE, legend_strip, shorten
from datasets.reading import Colour

SHOWN = 3
HEIGHT = 360  # px of each overlay
WIDEST = 720
STRENGTH = 0.5  # opacity of the colours
GAP = 8


def overlay(
    image: np.ndarray, label: np.ndarray, palette: Sequence[Colour], plain: int | None
) -> np.ndarray:
    """Draw class colours over an image, uint8 (H, W, 3) RGB, with a light outline.

    Args:
        image: the photograph.
        label: class ids, uint8 (H, W).
        palette: a colour for each id.
        plain: id to leave uncoloured, such as soil, or None; void is hatched in white.
    """
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    mixed = image.astype(np.float32) * (1 - STRENGTH) + table[label] * np.float32(STRENGTH)
    rows, columns = np.indices(label.shape)
    hatched = (label == VOID) & ((rows + columns) // 4 % 2 == 0)
    coloured = (label != plain) & (label != VOID) | hatched
    result = np.where(coloured[..., None], mixed, image).astype(np.uint8)
    edge = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    result[edge & (label != VOID)] = 255
    return result


def write_preview(
    path: Path,
    samples: Sequence[tuple[str, np.ndarray, np.ndarray]],
    classes: Sequence[str],
    palette: Sequence[Colour],
) -> None:
    """Write up to three overlays side by side, with their names and a legend of the classes.

    Args:
        path: of the picture.
        samples: name, image (H, W, 3) and label (H, W) of each.
        classes: class names.
        palette: class colours.
    """
    font = ImageFont.load_default(14)
    plain = 0 if is_ground(classes[0]) else None
    tiles = []
    for _, image, label in samples[:SHOWN]:
        scale = min(HEIGHT / image.shape[0], WIDEST / image.shape[1])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        ids = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
        tiles.append(overlay(small, ids, palette, plain))
    width = sum(tile.shape[1] for tile in tiles) + GAP * (len(tiles) + 1)
    entries = [*zip(classes, palette, strict=True)]
    if plain is not None:
        entries[0] = f"{classes[0]} (not coloured)", palette[0]
    legend = legend_strip([*entries, ("void (hatched)", (255, 255, 255))], width, font)
    page = Image.new("RGB", (width, HEIGHT + LINE + 2 * GAP + legend.shape[0]), "white")
    pen, left = ImageDraw.Draw(page), GAP
    for (name, _, _), tile in zip(samples, tiles, strict=False):
        page.paste(Image.fromarray(tile), (left, GAP))
        pen.text((left, GAP + HEIGHT + 2), shorten(name, tile.shape[1], font), "black", font)
        left += tile.shape[1] + GAP
    page.paste(Image.fromarray(legend), (0, HEIGHT + LINE + 2 * GAP))
    page.save(path, format="PNG")
