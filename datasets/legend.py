"""Legends of class colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.reading import Colour

GAP, LINE = 8, 22  # px
SWATCH = 16

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Entries = Sequence[tuple[str, Colour]]


def legend_strip(entries: Entries, width: int, font: Font) -> np.ndarray:
    """Draw names beside their colours, wrapped to `width` px.

    Args:
        entries: name and colour of each class.
        width: of the strip, in px.
        font: of about 14 px.

    Returns:
        (H, width, 3) uint8 RGB, on white.
    """
    places, left, top = [], GAP, 0
    for text, colour in entries:
        wide = int(font.getlength(text)) + SWATCH + 24
        if left + wide > width and left > GAP:
            left, top = GAP, top + LINE
        places.append((left, top, text, colour))
        left += wide
    page = Image.new("RGB", (width, top + LINE + GAP), "white")
    pen = ImageDraw.Draw(page)
    for x, y, text, colour in places:
        pen.rectangle((x, y + 2, x + SWATCH, y + 2 + SWATCH), tuple(colour), "black")
        pen.text((x + SWATCH + 6, y + 1), text, "black", font)
    return np.array(page)


def shorten(text: str, width: int, font: Font) -> str:
    """Truncate the beginning of a text that is wider than `width` px."""
    shown = text
    while font.getlength(shown) > width and len(text) > 1:
        text = text[1:]
        shown = f"…{text}"
    return shown
