"""Reading images and label maps from files, with errors that name the file."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, TiffImagePlugin
from torch import Tensor

Colour = tuple[int, int, int]

READABLE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")  # of images
UNREAD_SUFFIXES = (
    ".heic", ".heif", ".avif", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".jp2", ".gif"
)  # fmt: skip
PNG, TIFF = b"\x89PNG", (b"II", b"MM")  # first bytes of files
PALETTE_HINT = "convert colour masks to class ids with `python datasets/prepare.py palette`"
# All decoders scale grey PNGs of less than 8 bits to 0..255; dividing restores the ids.
_STRETCH = {"L;2": 85, "L;4": 17}
MAX_PIXELS = 2**28  # 16384 x 16384: 0.8 GB at 3 bytes per pixel
# OpenCV would print warnings about damaged files; we raise a one-line error instead.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
Image.MAX_IMAGE_PIXELS = None  # Pillow would warn above its limit; ours is `MAX_PIXELS`


class ColoursError(ValueError):
    """Raised if a label contains colours instead of class ids."""


def read_image(path: Path) -> Tensor:
    """Read an image (including grey, palette, CMYK, alpha and 16 bits) as uint8 RGB (3, H, W).

    EXIF orientation is applied, alpha is dropped (a TIFF's colours are multiplied by it), 16-bit
    values keep their high byte, and only the first frame of an animation is read.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is damaged or not an image, or has more than `MAX_PIXELS`.
    """
    data = _read_whole(path)
    _check_size(path, data)
    try:
        # OpenCV decodes twice as fast as Pillow. It would fill the missing part of a truncated
        # JPEG with grey, but `_read_whole` has refused those.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise _unreadable(path) from error
    if pixels is None:
        if (bits := _depth(data)) > 16:
            raise ValueError(f"{path}: {bits} bits per channel: export it with 8 or 16")
        raise _unreadable(path)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def is_faint(path: Path, image: Tensor | np.ndarray) -> bool:
    """Return whether a file of 16 bits uses less than a sixteenth of their range.

    Photographs of 12 bits or fewer do if they were saved without scaling; `read_image` returns them
    almost black. It does not scale them: a full-range photograph may be as dark as that, and
    brightness would differ from frame to frame.

    Args:
        path: of the image.
        image: the image as `read_image` returned it, in any layout.
    """
    # 4095 becomes 15, or 16 where OpenCV rounds, as in TIFFs.
    return int(image.max()) <= 16 and _depth(path.read_bytes()) == 16


def read_indices(path: Path) -> np.ndarray:
    """Read a one-channel label PNG as integers (H, W); a palette PNG yields its indices.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be decoded, or contains colours or floats instead of ids.
    """
    data = _read_whole(path)
    _check_size(path, data)
    try:
        # Pillow here: OpenCV turns palette indices into colours.
        image = Image.open(BytesIO(data))
        stretch = _STRETCH.get(str(image.tile[0][3]), 1)
        values = np.array(image)
    except Exception as error:  # decoders raise nearly any type on broken bytes
        raise _unreadable(path) from error
    if image.mode == "F":
        raise ValueError(f"{path}: holds decimal numbers, not class ids; export it with 8 bits")
    if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
        raise ColoursError(f"{path}: holds colours ({image.mode}), not class ids; {PALETTE_HINT}")
    if image.mode == "1":
        values = values.astype(np.uint8)
    return values // stretch if stretch > 1 else values


def map_ids(values: np.ndarray, ids: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Map raw label values (H, W) to class ids, uint8 (H, W).

    Returns:
        The class ids, and a mask (H, W) of the values that are not in `ids`.
    """
    if values.dtype == np.uint8:  # a table is several times faster
        raws = np.arange(256)
        table, unknown = map_ids(raws, ids)
        return np.take(table, values), np.take(unknown, values)
    raws = np.array(sorted(ids))
    class_ids = np.array([ids[raw] for raw in raws.tolist()], np.uint8)
    at = np.searchsorted(raws[:-1], values)
    unknown = raws[at] != values
    return np.where(unknown, 0, class_ids[at]).astype(np.uint8), unknown


def map_colours(image: Tensor, colours: Mapping[Colour, int]) -> tuple[np.ndarray, np.ndarray]:
    """Map the colours of a mask, uint8 (3, H, W), to class ids, uint8 (H, W).

    Returns:
        The class ids, and a mask (H, W) of the pixels whose colour is not in `colours`.
    """
    red, green, blue = image.numpy()
    label = np.zeros(red.shape, np.uint8)
    unknown = np.ones(red.shape, bool)
    for (r, g, b), class_id in colours.items():
        here = (red == r) & (green == g) & (blue == b)
        label[here] = class_id
        unknown &= ~here
    return label, unknown


def tell_values(values: np.ndarray) -> str:
    """Format values (N,) with their counts for an error message: `7 (12 px), 9 (1 px)`."""
    found, counts = np.unique(values, return_counts=True)
    told = ", ".join(f"{v} ({n} px)" for v, n in zip(found[:5], counts[:5], strict=True))
    return told + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _read_whole(path: Path) -> bytes:
    """Read a file's bytes; raise on a PNG or JPEG whose end is missing."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    is_png, is_jpeg = data.startswith(PNG), data.startswith(b"\xff\xd8")
    if (is_png and not _has_png_end(data)) or (is_jpeg and not _has_jpeg_end(data)):
        raise ValueError(f"{path}: truncated image, its end is missing: copy it again or remove it")
    return data


def _size(data: bytes) -> tuple[int, int]:
    """Return width and height from the header of an image file, without decoding it."""
    if data[:2] in TIFF:  # OpenCV decodes some variants that Pillow cannot open
        tags = _tags(data)
        return tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
    with Image.open(BytesIO(data)) as image:
        return image.size


def _depth(data: bytes) -> int:
    """Return bits per channel from the header of an image file; a TIFF may have more than 16."""
    if data.startswith(PNG):
        return data[24]
    if data[:2] in TIFF:
        return max(_tags(data).get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    return 8


def _tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Read the first directory of a TIFF."""
    big = 43 in data[2:4]
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if big else 8])
    stream = BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _check_size(path: Path, data: bytes) -> None:
    """Raise on an image too large for memory: even a small file may claim an enormous size."""
    try:
        width, height = _size(data)
    except Exception as error:  # parsers raise nearly any type on broken bytes
        raise _unreadable(path) from error
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{path}: {width} x {height} px are more than {MAX_PIXELS}: damaged, or cut it up"
        )


def _has_png_end(data: bytes) -> bool:
    """Whether the chunks of a PNG are contiguous up to its end chunk.

    OpenCV allocates as much memory as a chunk's length field says, up to 4 GB if it is damaged,
    before it reads the chunk.
    """
    at = 8
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Look for the end marker after the first scan; a thumbnail's is in an earlier segment."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # fill byte
            position += 1
            continue
        if data[position + 1] == 0xDA:  # start of scan: 0xFFD9 in it can only be the end
            return data.find(b"\xff\xd9", position) >= 0
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _unreadable(path: Path) -> ValueError:
    return ValueError(
        f"{path}: not a readable image, damaged or of another kind: copy it again or remove it"
    )
