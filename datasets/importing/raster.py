"""Painting regions into label maps: the rasteriser shared by all formats."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from datasets.importing.records import Region

ELLIPSE_CORNERS = 64
# Corners are clipped to this multiple of the image's size: pycocotools walks along every edge pixel
# by pixel.
FARTHEST = 4


def paint(
    regions: Sequence[Region],
    size: tuple[int, int],
    ids: Mapping[str, int],
    unlabelled: int,
) -> tuple[np.ndarray, Counter]:
    """Paint regions over each other, by `order`, then as listed.

    Args:
        regions: of one image.
        size: (height, width) of the image in px.
        ids: the value of each class name.
        unlabelled: the value of all other pixels.

    Returns:
        The label, uint8 (H, W), and how many regions are `clipped` (extend beyond the image) or
        `empty` (cover no pixel's centre).
    """
    label = np.full(size, unlabelled, np.uint8)
    counts: Counter = Counter()
    for region in sorted(regions, key=lambda region: region.order):
        inside = region.mask(size) if region.mask else fill(region.rings, size)
        label[inside] = ids[region.name]
        counts["empty"] += not inside.any()
        counts["clipped"] += any(_reaches_out(ring, size) for ring in region.rings)
    return label, counts


def fill(rings: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Fill the union of polygons (N, 2) in px, by COCO's rule: bool (H, W)."""
    height, width = size
    far = np.array((width, height)) * FARTHEST
    flat = [np.clip(ring, -far, far).ravel().tolist() for ring in rings if len(ring) >= 3]
    if not flat:
        return np.zeros(size, bool)
    pieces = coco_mask.frPyObjects(flat, height, width)
    return coco_mask.decode(coco_mask.merge(pieces)).astype(bool)


def area(corners: np.ndarray) -> float:
    """The area of a polygon (N, 2), by the shoelace formula."""
    x, y = corners.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def ring(points: object, where: str) -> np.ndarray:
    """Validate the corners of a polygon and convert them to float (N, 2).

    Raises:
        ValueError: not pairs of finite numbers.
    """
    try:
        corners = np.array(points, np.float64)
        if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{where}: a polygon's corners are not pairs of numbers") from None
    return corners


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Corners (4, 2) of an upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Corners (N, 2) of an upright ellipse."""
    angles = np.linspace(0, 2 * math.pi, ELLIPSE_CORNERS, endpoint=False)
    return np.stack((x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)), axis=1)


def turn(corners: np.ndarray, degrees: float, about: tuple[float, float]) -> np.ndarray:
    """Rotate corners (N, 2) about a point, clockwise as seen in the image."""
    angle = math.radians(degrees)
    rotation = np.array(((math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))))
    return (corners - about) @ rotation + about


def place(patch: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Paste a patch, bool (h, w), into an empty mask (H, W), clipped to the image."""
    mask = np.zeros(size, bool)
    y, x = max(0, -top), max(0, -left)
    seen = patch[y : max(0, size[0] - top), x : max(0, size[1] - left)]
    mask[top + y : top + y + seen.shape[0], left + x : left + x + seen.shape[1]] = seen
    return mask


def _reaches_out(corners: np.ndarray, size: tuple[int, int]) -> bool:
    height, width = size
    slack = 1.0  # tools may round to just outside the border
    return bool((corners < -slack).any() or (corners > np.array((width, height)) + slack).any())
