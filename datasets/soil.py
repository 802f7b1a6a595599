"""Bare ground seen from above: a relief lit from the side, with stones and straw on it.

Lengths scale with the shorter side of the image, as in `datasets/fields.py`.
"""

import cv2
import numpy as np

from datasets.plants import SHIFT, Light, to_fixed


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Smooth noise, float32 (H, W) of unit variance, whose grain is `cell` pixels wide."""
    cells = [max(2, round(side / cell) + 2) for side in (height, width)]
    grid = rng.standard_normal(cells, dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 1.3


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions x (1, W), y (H, 1) from the image centre, in units of the shorter side."""
    x, y = (np.arange(size, dtype=np.float32) - size / 2 for size in (width, height))
    unit = np.float32(min(height, width))
    return x[None, :] / unit, y[:, None] / unit


def draw_soil(
    rng: np.random.Generator, height: int, width: int, light: Light, row_angle: float
) -> np.ndarray:
    """Draw bare ground, uint8 (H, W, 3) RGB: clods, ridges, grain, damp spots, stones, straw."""
    unit = min(height, width)
    relief = _clods(rng, height, width) * np.float32(rng.uniform(0.3, 1.0))
    for cells, low, high in ((14, 0.1, 0.4), (45, 0.05, 0.3), (110, 0.03, 0.16)):
        grain = smooth_noise(rng, height, width, max(1.5, unit / cells))
        relief += grain * np.float32(rng.uniform(low, high))
    relief += _tillage(rng, height, width, row_angle)
    right, down = (cv2.Sobel(relief, cv2.CV_32F, *axis, ksize=3) for axis in ((1, 0), (0, 1)))
    towards = np.array(light.direction, np.float32) * np.float32(unit / 256)
    slope = right * towards[0] + down * towards[1]
    shade = 1 - np.clip(slope * np.float32(0.05 + 0.16 * light.shadow_depth), -0.6, 0.55)
    shade += np.float32(0.08) * smooth_noise(rng, height, width, unit / 3)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    shade += np.float32(rng.uniform(0.03, 0.1)) * grain
    damp = smooth_noise(rng, height, width, unit / 2.5) - np.float32(rng.uniform(0.2, 2.0))
    shade *= 1 - np.float32(0.35) * np.clip(damp, 0, 1)
    colour = _soil_colour(rng)
    soil = cv2.merge(
        [
            cv2.multiply(shade, float(c), dtype=cv2.CV_8U)  # type: ignore[call-overload]  # the stubs know no scalar
            for c in colour
        ]
    )
    _draw_stones(rng, soil, light)
    draw_straw(rng, soil, light)
    return soil


def _soil_colour(rng: np.random.Generator) -> np.ndarray:
    """A mixture of grey loam, brown loam, red clay and dry sand, of random brightness."""
    kinds = np.array([[105, 100, 94], [122, 96, 72], [140, 92, 66], [168, 146, 116]], np.float32)
    return rng.dirichlet([0.7] * 4).astype(np.float32) @ kinds * np.float32(rng.uniform(0.65, 1.15))


def _clods(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A relief of overlapping lumps, float32 (H, W)."""
    unit = min(height, width)
    count = int(rng.uniform(30, 260) * height * width / unit**2)
    # Sorted, so that small ones are at the bottom.
    sizes = np.sort(unit * 0.006 * (1 + rng.pareto(2.0, count)).clip(0, 7))
    angles = np.arange(7) * (2 * np.pi / 7) + rng.uniform(0, 0.7, (count, 7))
    radii = sizes[:, None] * rng.uniform(0.6, 1.15, (count, 7))
    corners = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=2)
    corners += rng.uniform((0, 0), (width, height), (count, 1, 2))
    corners = to_fixed(corners)
    relief = np.zeros((height, width), np.uint8)
    for polygon, top in zip(corners, rng.uniform(40, 255, count).tolist(), strict=True):
        cv2.fillPoly(relief, [polygon], top, cv2.LINE_8, SHIFT)
    return cv2.GaussianBlur(relief, (0, 0), unit * 0.005).astype(np.float32) / 40


def _tillage(rng: np.random.Generator, height: int, width: int, row_angle: float) -> np.ndarray:
    """Faint ridges along the rows, float32 (H, W)."""
    x, y = coordinates(height, width)
    turns = np.float32(2 * np.pi / rng.uniform(0.06, 0.2))
    across = y * np.float32(np.cos(row_angle)) - x * np.float32(np.sin(row_angle))
    wobble = smooth_noise(rng, height, width, min(height, width) / 6)  # ridges crumble
    depth = rng.choice([0.0, rng.uniform(0.1, 0.6)]) * np.clip(0.6 + 0.5 * wobble, 0, 1.5)
    return depth.astype(np.float32) * np.sin(
        across * turns + wobble + np.float32(rng.uniform(0, 6))
    )


def _draw_stones(rng: np.random.Generator, soil: np.ndarray, light: Light) -> None:
    height, width = soil.shape[:2]
    unit = min(height, width)
    for _ in range(rng.poisson(rng.uniform(0, 14))):
        size = unit * 0.008 * min(1 + rng.pareto(2.5), 5)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
        radii = size * rng.uniform(0.75, 1.1, 8)
        flat = rng.uniform(0.6, 1)
        outline = np.stack([np.cos(angles) * radii, np.sin(angles) * radii * flat], axis=1)
        centre = rng.uniform((0, 0), (width, height))
        tint = np.array([1.0, rng.uniform(0.93, 1.0), rng.uniform(0.82, 1.0)])
        colour = rng.uniform(90, 215) * tint
        towards = np.array(light.direction) * size
        # Shadow, dark side, top.
        for scale, offset, shade in ((1.0, -0.45, 0.25), (1.0, 0.0, 0.8), (0.8, 0.22, 1.0)):
            points = centre + outline * scale + towards * offset
            paint = (colour * shade).tolist()
            cv2.fillPoly(soil, [to_fixed(points)], paint, cv2.LINE_AA, SHIFT)


def draw_straw(rng: np.random.Generator, soil: np.ndarray, light: Light) -> None:
    """Draw dry stalks: shaped like blades of grass, but labelled as soil."""
    height, width = soil.shape[:2]
    unit = min(height, width)
    for _ in range(rng.poisson(rng.choice([0.0, 4.0, 16.0], p=[0.35, 0.45, 0.2]))):
        length, angle = unit * rng.uniform(0.03, 0.16), rng.uniform(0, np.pi)
        bend = rng.normal(0, 0.05) * length
        t = np.linspace(-0.5, 0.5, 6)
        line = np.stack([t * length, bend * (1 - 4 * t**2)], axis=1)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        line = line @ turn + rng.uniform((0, 0), (width, height))
        thick = max(1, round(unit * rng.choice([0.004, 0.007, 0.011], p=[0.6, 0.3, 0.1])))
        colour = np.array([196, 172, 118]) * rng.uniform(0.55, 1.15) + rng.normal(0, 6, 3)
        shadow = line - np.array(light.direction) * thick
        for points, paint in ((shadow, colour * 0.35), (line, colour)):
            paint = np.clip(paint, 0, 255).tolist()
            cv2.polylines(soil, [to_fixed(points)], False, paint, thick, cv2.LINE_AA, SHIFT)
