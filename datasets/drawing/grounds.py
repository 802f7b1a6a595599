"""Grounds of all kinds: the soil of `datasets/soil.py` or a rougher one, recoloured, and litter."""

import cv2
import numpy as np

from datasets.plants import SHIFT, Light, to_fixed
from datasets.soil import coordinates, draw_soil, draw_straw, smooth_noise


def draw_ground(
    rng: np.random.Generator, height: int, width: int, light: Light, row_angle: float
) -> np.ndarray:
    """Draw ground without plants, uint8 (H, W, 3) RGB."""
    draw = _rough_soil if rng.uniform() < 0.6 else draw_soil
    ground = _recoloured(rng, draw(rng, height, width, light, row_angle))
    additions = ((_crumbs, 0.2), (_clods, 0.3), (_cracks, 0.08), (_specks, 0.3), (_mulch, 0.10),
                 (_straw, 0.15), (_film, 0.06), (_pipe, 0.07), (_litter, 0.10), (_moss, 0.08),
                 (_things, 0.06))  # fmt: skip
    for add, share in additions:
        if rng.uniform() < share:
            ground = add(rng, ground, light)
    return ground


def _rough_soil(
    rng: np.random.Generator, height: int, width: int, light: Light, row_angle: float
) -> np.ndarray:
    """Broken soil: rough at every scale, with clods and stones, lit from one side."""
    unit = min(height, width)
    relief = _fractal(rng, height, width) * np.float32(unit * rng.uniform(0.003, 0.012))
    for _ in range(int(rng.integers(0, 3))):
        np.maximum(relief, _lumps(rng, height, width) + 0.7 * relief, out=relief)
    slope_x, slope_y = (
        cv2.Sobel(relief, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))
    )
    elevation = rng.uniform(0.45, 1.4)  # of the sun, radians
    side = np.float32(np.cos(elevation) / np.sin(elevation))
    facing = slope_x * np.float32(light.direction[0]) + slope_y * np.float32(light.direction[1])
    lit = np.clip(1 - side * facing, 0, None) / np.sqrt(1 + slope_x**2 + slope_y**2)
    sky = 0.3 + 0.6 * light.shadow_softness / 0.3  # share of diffuse light
    hollow = relief - cv2.blur(relief, (2 * int(unit * 0.02) + 1,) * 2)
    open_sky = np.clip(1 + hollow * np.float32(25 * rng.uniform(0.3, 1.2) / unit), 0.25, 1.4)
    shade = open_sky * np.minimum(sky + (1 - sky) * lit, 2.2)
    shade *= 1 + np.float32(0.1) * smooth_noise(rng, height, width, unit / 3)
    tones = cv2.merge([_fractal(rng, height, width) for _ in range(3)])
    tones = 1 + np.float32(rng.uniform(0, 0.03)) * tones
    colour = np.array([120, 105, 90], np.float32)
    return np.clip(shade[..., None] * tones * colour, 0, 255).astype(np.uint8)


def _fractal(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise with a power-law amplitude spectrum, float32 (H, W), unit variance."""
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    waves[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    spectrum *= np.maximum(waves, 1.5 / min(height, width)) ** -rng.uniform(1.0, 2.0)
    noise = np.fft.irfft2(spectrum, (height, width))
    return (noise / noise.std()).astype(np.float32)


def _lumps(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Round clods or stones of various sizes: a relief in pixels, float32 (H, W), 0 in between."""
    count = int(np.exp(rng.uniform(np.log(8), np.log(800))))
    distance, cells = _cells(rng, height, width, count)
    distance *= 1 + np.float32(0.12) * smooth_noise(
        rng, height, width, max(3.0, min(height, width) / 60)
    )
    spacing = np.sqrt(height * width / count)
    radius = (spacing * rng.uniform(0.15, 0.75, count + 2) * rng.uniform(0.5, 1)).astype(np.float32)
    radius = radius[cells]
    return (
        radius
        * np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))
        * np.float32(rng.uniform(0.3, 0.8))
    )


def _cells(
    rng: np.random.Generator, height: int, width: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells of random points: each pixel's distance to its point, and its cell's index."""
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    return cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)


def _recoloured(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """Recolour the ground: near black to near white, grey to red, low to high contrast."""
    values = ground.astype(np.float32)
    mean = values.mean((0, 1))
    grey = values.mean(2, keepdims=True)
    target = np.exp(rng.normal(np.log(100), 0.38))
    tint = np.array([1 + rng.normal(0.10, 0.09), 1.0, 1 - rng.normal(0.12, 0.10)])
    tint = 1 + (tint - 1) * rng.choice([1.0, 1.8, 0.2], p=[0.6, 0.2, 0.2])
    contrast = np.exp(rng.uniform(np.log(0.5), np.log(1.7)))
    relief = (grey / mean.mean() - 1) * np.float32(contrast) + 1
    chroma = (values - grey) - (mean - mean.mean())
    return np.clip(relief * np.float32(target * tint) + chroma, 0, 255).astype(np.uint8)


def _crumbs(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Crumbs of many sizes with dark gaps between them, each of a slightly different colour."""
    height, width = ground.shape[:2]
    unit = min(height, width)
    factor = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cell = max(2.0, unit / np.exp(rng.uniform(np.log(12), np.log(110))))
        gaps = np.exp(-((smooth_noise(rng, height, width, cell) / rng.uniform(0.1, 0.35)) ** 2))
        factor *= 1 - np.float32(rng.uniform(0.1, 0.4)) * gaps.astype(np.float32)
    tints = [
        factor * (1 + np.float32(rng.uniform(0, 0.04)) * smooth_noise(rng, height, width, cell))
        for _ in range(3)
    ]
    return np.clip(ground * cv2.merge(tints) * np.float32(1.15), 0, 255).astype(np.uint8)


def _clods(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Clods or gravel: cells of varying tone, bright towards the sun, with dark gaps."""
    height, width = ground.shape[:2]
    count = int(np.exp(rng.uniform(np.log(30), np.log(2500))))
    distance, cells = _cells(rng, height, width, count)
    tones = rng.normal(1, rng.uniform(0.03, 0.22), (count + 2, 1))
    tones = (tones + rng.normal(0, 0.02, (count + 2, 3))).astype(np.float32)
    height_map = -distance * np.float32(rng.uniform(0.03, 0.12))
    slope = cv2.Sobel(height_map, cv2.CV_32F, 1, 0) * np.float32(-light.direction[0])
    slope += cv2.Sobel(height_map, cv2.CV_32F, 0, 1) * np.float32(-light.direction[1])
    shade = np.clip(1 + slope * np.float32(rng.uniform(0.2, 1.0)), 0.3, 1.7)
    clods = ground * tones[cells] * shade[..., None]
    patch = np.clip(smooth_noise(rng, height, width, min(height, width) / 3) + 0.7, 0, 1)[..., None]
    return np.clip(ground * (1 - patch) + clods * patch, 0, 255).astype(np.uint8)


def _cracks(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    height, width = ground.shape[:2]
    count = int(np.exp(rng.uniform(np.log(6), np.log(120))))
    _, cells = _cells(rng, height, width, count)
    size = int(rng.integers(2, 4))
    kernel = np.ones((size, size), np.uint8)
    cells = cells.astype(np.float32)
    edge = (cv2.dilate(cells, kernel) != cv2.erode(cells, kernel)).astype(np.float32)
    depth = cv2.blur(edge, (2, 2)) * np.float32(rng.uniform(0.3, 0.8))
    return (ground * (1 - depth[..., None])).astype(np.uint8)


def _specks(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Bright grains of quartz, lime or fertiliser, from dust to pebbles, in clusters."""
    height, width = ground.shape[:2]
    unit = min(height, width)
    count = int(rng.uniform(10, 300))
    groups = rng.uniform((0, 0), (width, height), (int(rng.integers(1, 8)), 2))
    spread = unit * rng.uniform(0.03, 0.3)
    centres = groups[rng.integers(len(groups), size=count)] + rng.normal(0, spread, (count, 2))
    typical = unit * np.exp(rng.uniform(np.log(0.0015), np.log(0.008)))
    sizes = 0.4 + rng.exponential(typical, count)
    axes = to_fixed(np.stack([sizes, sizes * rng.uniform(0.5, 1, count)], axis=1))
    turns = rng.uniform(0, 180, count)
    colours = rng.uniform((190, 180, 180), 255) * np.clip(rng.normal(1, 0.08, (count, 1)), 0, 1.1)
    grains = zip(to_fixed(centres), axes, turns, np.clip(colours, 0, 255), strict=True)
    for centre, axis, turn, colour in grains:
        cv2.ellipse(ground, centre.tolist(), axis.tolist(), turn, 0, 360, colour.tolist(), -1,
                    cv2.LINE_AA, SHIFT)  # fmt: skip
    return ground


def _mulch(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Chips of bark or wood, or gravel."""
    height, width = ground.shape[:2]
    unit = min(height, width)
    size = unit * rng.uniform(0.008, 0.03)
    count = int(min(700, rng.uniform(0.3, 1.5) * height * width / size**2 / 2))
    corners = rng.uniform(0.4, 1.2, (count, 5)) * size
    turns = np.sort(rng.uniform(0, 2 * np.pi, (count, 5)), axis=1)
    shape = np.stack([np.cos(turns), np.sin(turns) * rng.uniform(0.3, 1)], axis=-1)
    angle = rng.uniform(0, np.pi, (count, 1))
    x, y = (shape * corners[..., None]).transpose(2, 0, 1)
    turned = np.stack(
        [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], -1
    )
    chips = to_fixed(turned + rng.uniform((0, 0), (width, height), (count, 1, 2)))
    base = rng.uniform(60, 190) * np.array([1.0, rng.uniform(0.78, 1.0), rng.uniform(0.6, 1.0)])
    colours = (base * rng.uniform(0.5, 1.3, (count, 1))).clip(0, 255).tolist()
    for chip, colour in zip(chips, colours, strict=True):
        cv2.fillPoly(ground, [chip], colour, cv2.LINE_8, SHIFT)
    return ground


def _straw(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    for _ in range(int(rng.integers(2, 7))):
        draw_straw(rng, ground, light)
    return ground


def _band(rng: np.random.Generator, height: int, width: int, half: float) -> np.ndarray:
    """A straight band, float32 (H, W): 1 inside, 0 outside."""
    x, y = coordinates(height, width)
    turn = rng.uniform(0, np.pi)
    across = (
        x * np.float32(np.cos(turn))
        + y * np.float32(np.sin(turn))
        - np.float32(rng.uniform(-0.5, 0.5))
    )
    return (np.abs(across) < half).astype(np.float32)


def _film(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Plastic film: black, silver or translucent, with shiny creases."""
    height, width = ground.shape[:2]
    band = _band(rng, height, width, rng.uniform(0.15, 0.6))[..., None]
    creases = smooth_noise(rng, height, width, max(2.0, min(height, width) / rng.uniform(5, 30)))
    shine = np.clip(creases - 1.1, 0, 1)[..., None] * rng.uniform(40, 200)
    colour = rng.choice([35.0, 60.0, 170.0, 215.0]) * rng.uniform(0.8, 1.15)
    film = colour * (1 + 0.06 * creases[..., None]) + shine
    opaque = rng.choice([1.0, rng.uniform(0.3, 0.8)])
    mixed = ground * (1 - opaque * band) + film * opaque * band
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _pipe(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """A drip line or a hose."""
    height, width = ground.shape[:2]
    unit = min(height, width)
    t = np.linspace(-1, 1, 12)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4, 2) * unit
    along = np.array([np.cos(angle), np.sin(angle)])
    line = along * t[:, None] * 1.5 * unit + np.array([-along[1], along[0]]) * (
        np.cumsum(rng.normal(0, 0.02, 12))[:, None] * unit
    )
    line += np.array([width, height]) / 2 + offset
    thick = max(2, round(unit * rng.uniform(0.008, 0.04)))
    colour = rng.choice([25.0, 45.0, 90.0, 150.0]) * np.array(
        [1.0, rng.uniform(0.85, 1.05), rng.uniform(0.8, 1.2)]
    )
    layers = ((-np.array(light.direction) * thick * 0.6, 0.4, thick), (np.zeros(2), 1.0, thick),
              (np.array(light.direction) * thick * 0.2, 1.7, max(1, thick // 3)))  # fmt: skip
    for offset, shade, size in layers:
        paint = np.clip(colour * shade, 0, 255).tolist()
        cv2.polylines(ground, [to_fixed(line + offset)], False, paint, size, cv2.LINE_AA, SHIFT)
    return ground


def _litter(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Dead leaves: shaped like leaves, but brown and labelled as soil."""
    height, width = ground.shape[:2]
    unit = min(height, width)
    t = np.linspace(0, 1, 8)
    half = np.sqrt(t * (1 - t))
    for _ in range(int(rng.integers(1, 14))):
        size, aspect, turn = (
            unit * rng.uniform(0.02, 0.14),
            rng.uniform(0.3, 0.9),
            rng.uniform(0, 2 * np.pi),
        )
        x, y = np.r_[t, t[::-1]] * size, np.r_[half, -half] * size * aspect
        x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
        outline = (
            np.stack([x, y], 1)
            + rng.uniform((0, 0), (width, height))
            + rng.normal(0, 0.04 * size, (16, 2))
        )
        colour = rng.uniform(0.5, 1.1) * rng.uniform((110, 80, 50), (190, 150, 100))
        shadow = outline - np.array(light.direction) * size * 0.08
        cv2.fillPoly(ground, [to_fixed(shadow)], (colour * 0.35).tolist(), cv2.LINE_AA, SHIFT)
        cv2.fillPoly(ground, [to_fixed(outline)], colour.tolist(), cv2.LINE_AA, SHIFT)
    return ground


def _moss(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """A greenish film on damp soil, labelled as soil."""
    height, width = ground.shape[:2]
    patch = np.clip(smooth_noise(rng, height, width, min(height, width) / 4) - 0.3, 0, 1)[..., None]
    tint = np.array([0.9, 1.0, 0.75]) + rng.uniform(-0.05, 0.05, 3)
    return np.clip(ground * (1 - patch + patch * tint), 0, 255).astype(np.uint8)


def _things(rng: np.random.Generator, ground: np.ndarray, light: Light) -> np.ndarray:
    """Boots, plant labels, tools, wheels: smooth shapes of strong or dark colour."""
    height, width = ground.shape[:2]
    unit = min(height, width)
    for _ in range(int(rng.integers(1, 3))):
        size = unit * rng.uniform(0.04, 0.3)
        box = (
            rng.uniform((0, 0), (width, height)).tolist(),
            (size, size * rng.uniform(0.15, 1)),
            rng.uniform(0, 180),
        )
        colour = (
            rng.uniform(10, 250, 3) if rng.uniform() < 0.5 else np.repeat(rng.uniform(10, 250), 3)
        )
        if colour[1] > max(colour[0], colour[2]):
            colour[1] = min(colour[0], colour[2])  # green objects would be ambiguous
        corners = cv2.boxPoints(box)
        shadow = corners - np.array(light.direction) * size * rng.uniform(0.02, 0.4)
        cv2.fillPoly(
            ground, [to_fixed(shadow)], (ground.mean((0, 1)) * 0.4).tolist(), cv2.LINE_AA, SHIFT
        )
        if rng.uniform() < 0.4:
            cv2.ellipse(ground, tuple(box), colour.tolist(), -1, cv2.LINE_AA)
        else:
            cv2.fillPoly(ground, [to_fixed(corners)], colour.tolist(), cv2.LINE_AA, SHIFT)
    return ground
