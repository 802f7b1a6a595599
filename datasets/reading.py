"""Reading images and label maps from files, with errors that name the file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

Colour = tuple[int, int, int]

PALETTE_HINT = "convert colour masks to class ids with `python datasets/prepare.py palette`"
# Grey PNGs of less than 8 bits are stretched to 0..255 by every decoder; dividing restores the ids.
_STRETCH = {"L;2": 85, "L;4": 17}
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_image(path: Path) -> Tensor:
    """Read a JPEG or PNG (grey, palette, alpha and 16 bits included) as uint8 RGB (3, H, W).

    EXIF orientation is applied, alpha is dropped, and 16-bit values keep their high byte.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be decoded, in whole, as an image.
    """
    try:
        # torchvision decodes about twice as fast as Pillow, and refuses truncated files.
        image = decode_image(str(path), ImageReadMode.RGB, apply_exif_orientation=True)
    except RuntimeError as error:
        raise _undecodable(path, error) from error
    if image.dtype == torch.uint16:
        image = (image.int() >> 8).to(torch.uint8)
    if image.dim() != 3:
        raise ValueError(f"{path}: holds an animation, not one image")
    return image


def read_indices(path: Path) -> np.ndarray:
    """Read a one-channel label PNG as integers (H, W); a palette PNG yields its indices.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be decoded, or holds colours instead of ids.
    """
    try:
        # Pillow here: torchvision returns unwritten memory for palettes of less than 8 bits.
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
                raise _ColourLabelError(
                    f"{path}: label holds colours ({image.mode}), not class ids; {PALETTE_HINT}"
                )
            stretch = _STRETCH.get(image.tile[0][3], 1) if image.tile else 1
            values = np.array(image)
    except _ColourLabelError:
        raise
    except _DECODE_ERRORS as error:
        raise _undecodable(path, error) from error
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return values // stretch if stretch > 1 else values


def map_ids(values: np.ndarray, ids: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Map raw label values (H, W) to class ids, uint8 (H, W).

    Returns:
        The class ids, and a mask (H, W) of the values that `ids` does not name.
    """
    table = np.zeros(256, np.uint8)
    known = np.zeros(256, bool)
    for raw, class_id in ids.items():
        table[raw], known[raw] = class_id, True
    if values.dtype == np.uint8:
        return np.take(table, values), ~np.take(known, values)
    outside = (values < 0) | (values > 255)
    small = np.where(outside, 0, values).astype(np.uint8)
    return np.take(table, small), outside | ~np.take(known, small)


def map_colours(image: Tensor, colours: Mapping[Colour, int]) -> tuple[np.ndarray, np.ndarray]:
    """Map the colours of a mask, uint8 (3, H, W), to class ids, uint8 (H, W).

    Returns:
        The class ids, and a mask (H, W) of the pixels whose colour `colours` does not name.
    """
    red, green, blue = image.numpy()
    label = np.zeros(red.shape, np.uint8)
    unknown = np.ones(red.shape, bool)
    for (r, g, b), class_id in colours.items():
        here = (red == r) & (green == g) & (blue == b)
        label[here] = class_id
        unknown &= ~here
    return label, unknown


class _ColourLabelError(ValueError):
    """A mask of colours where ids are wanted: already told in full, not a decoding error."""


def _undecodable(path: Path, error: Exception) -> OSError | ValueError:
    if not Path(path).is_file():
        return FileNotFoundError(f"{path}: no such image file")
    return ValueError(f"{path}: not a readable image, damaged or truncated ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rsplit("torchvision/csrc/", 1)[-1].split(", ", 1)[-1]
