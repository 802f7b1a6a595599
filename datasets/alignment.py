"""Check labels against the green of their images: finds pairs rotated, shifted or mixed up."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

SIDE = 96  # px, longer side of the maps that are compared: plants are coarse
# A transformed label must beat the original's correlation by BETTER and reach GOOD: on CWFID and
# on drawn fields no correct pair comes near both.
BETTER, GOOD = 0.25, 0.4
APART = 0.25  # least correlation; correct pairs of these data sets have 0.7 and more
LEAST = 0.01  # least share of the image labelled as plants
SMALLEST = 64  # px, least side: smaller images show too little
SHIFT = 0.04  # of a side: smaller shifts are annotation tolerance


def misplaced(image: Tensor, label: Tensor, plants: Sequence[int]) -> str | None:
    """Describe how a label of plants does not fit its image; None if it fits.

    Greenness (excess green, Woebbecke et al. 1995) is correlated with the labelled plants as they
    are, rotated, mirrored, and shifted.

    Args:
        image: uint8 (3, H, W) RGB.
        label: uint8 (H, W).
        plants: ids of the classes that are plants.
    """
    if min(label.shape) < SMALLEST:
        return None
    green, mask = excess_green(image), _shrink(np.isin(label.numpy(), plants).astype(np.float32))
    if not LEAST <= mask.mean() <= 1 - LEAST or green.std() < 1e-3:
        return None
    here = _correlation(green, mask)
    found = {told: _correlation(green, turned) for told, turned in _turns(mask).items()}
    (rows, columns), shifted = best_shift(green, mask)
    if max(abs(rows) / mask.shape[0], abs(columns) / mask.shape[1]) > SHIFT:
        scale = max(label.shape) / SIDE
        right, down = round(columns * scale), round(rows * scale)
        found[f"shifted by {right} px to the right and {down} px down"] = shifted
    best = max(found, key=found.__getitem__, default=None)
    if best is not None and found[best] > max(here + BETTER, GOOD):
        return f"the plants of the label fit the image better {best}: export it again"
    if here < APART:
        return (
            "the image is not greener where the label has plants than elsewhere: is it the label "
            "of another image?"
        )
    return None


def excess_green(image: Tensor) -> np.ndarray:
    """Compute 2g - r - b on chromaticities r, g, b, downscaled: float (h, w)."""
    small = _shrink(image.permute(1, 2, 0).numpy()).astype(np.float32)
    red, green, blue = np.moveaxis(small, 2, 0) / (small.sum(axis=2) + 1)
    return 2 * green - red - blue


def _shrink(values: np.ndarray) -> np.ndarray:
    height, width = values.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)


def _turns(mask: np.ndarray) -> dict[str, np.ndarray]:
    found = {
        "turned by 180 degrees": mask[::-1, ::-1],
        "mirrored left to right": mask[:, ::-1],
        "mirrored top to bottom": mask[::-1],
    }
    if mask.shape[0] == mask.shape[1]:
        found["turned by 90 degrees clockwise"] = np.rot90(mask, -1)
        found["turned by 90 degrees counter-clockwise"] = np.rot90(mask)
    return found


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum() + 1e-12))


def best_shift(green: np.ndarray, mask: np.ndarray) -> tuple[tuple[int, int], float]:
    """Find the cyclic shift (rows, columns) of the second map that fits the first best.

    Args:
        green: float (h, w).
        mask: float (h, w).

    Returns:
        The shift, and the correlation at that shift, -1 to 1.
    """
    one, other = green - green.mean(), mask - mask.mean()
    products = np.fft.irfft2(np.fft.rfft2(one) * np.conj(np.fft.rfft2(other)), s=one.shape)
    row, column = np.unravel_index(products.argmax(), products.shape)
    norm = np.sqrt((one**2).sum() * (other**2).sum() + 1e-12)
    rows, columns = one.shape
    signed = (
        int(row) - rows * (row > rows // 2),
        int(column) - columns * (column > columns // 2),
    )
    return (int(signed[0]), int(signed[1])), float(products[row, column] / norm)
