"""Pictures of label maps: colours, overlays and titled rows."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

VOID_COLOUR = (128, 128, 128)
ERROR_COLOUR = (255, 0, 140)  # of no crop, weed or soil
TITLE_HEIGHT = 22
GAP = 6


def colorize(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colour a label map (H, W) with the palette; values beyond it are void, grey.

    Returns:
        (H, W, 3) uint8.
    """
    colours = np.tile(np.array(VOID_COLOUR, np.uint8), (256, 1))
    colours[: len(palette)] = np.array(palette, np.uint8)
    return colours[label.astype(np.uint8)]


def overlay(
    image: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.5
) -> np.ndarray:
    """Lay the colours of a label map (H, W) over an image (H, W, 3) uint8 of the same size."""
    return cv2.addWeighted(image, 1 - opacity, colorize(label, palette), opacity, 0)


def error_map(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Paint wrong pixels (H, W) bool in `ERROR_COLOUR` on a pale grey copy of the image.

    Args:
        image: (H, W, 3) uint8.
        wrong: pixels that are labelled, and not as they were predicted.

    Returns:
        (H, W, 3) uint8.
    """
    grey = np.asarray(Image.fromarray(image).convert("L"))
    pale = (140 + grey * 0.45).astype(np.uint8)[..., None].repeat(3, axis=2)
    pale[wrong] = ERROR_COLOUR
    return pale


def titled_row(pictures: dict[str, np.ndarray], height: int = 320) -> np.ndarray:
    """Put pictures (H, W, 3) uint8 side by side at one height, each under its title."""
    font = ImageFont.load_default(size=14)
    tiles = []
    for title, picture in pictures.items():
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        tile = Image.new("RGB", (width, height + TITLE_HEIGHT), "white")
        tile.paste(Image.fromarray(picture).resize((width, height)), (0, TITLE_HEIGHT))
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
