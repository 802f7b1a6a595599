"""The size of an image as it is shown upright, without decoding it."""

from pathlib import Path

from PIL import Image

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap the sides


def image_size(path: Path) -> tuple[int, int]:
    """Read (height, width) in px, EXIF orientation applied.

    Raises:
        ValueError: the file is not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable image, damaged or of another kind") from error
    return (width, height) if turned else (height, width)
