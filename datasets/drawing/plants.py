"""Paint plants, leaf by leaf, onto a canvas of red, green, blue and class id.

Every stroke paints all four channels at once, so that image and label cannot disagree.
"""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.drawing.leaves import Leaves
from datasets.drawing.species import Species
from datasets.plants import GOLDEN_ANGLE, SHIFT, to_fixed

FINE, COARSE = 12, 30  # radii in canvas pixels above which leaves get shaded halves, and veins


@dataclass(frozen=True)
class Plant:
    """One plant; lengths in canvas pixels."""

    species: Species
    class_id: int
    centre: tuple[float, float]  # (x, y)
    radius: float  # of the longest leaf, stalk included
    stage: float  # 0 cotyledons .. 1 grown
    tint: tuple[float, float, float]  # RGB factors on the species' colour


@dataclass(frozen=True)
class Placement:
    """Positions of the N leaves of a plant, lowest first, and its stem if it has one."""

    bases: np.ndarray  # (N, 2) relative to the plant's centre, in units of its radius
    angles: np.ndarray  # (N,)
    lengths: np.ndarray  # (N,) in units of the plant's radius
    stem: np.ndarray | None = None  # (M, 2)


def draw_plant(
    canvas: np.ndarray, rng: np.random.Generator, plant: Plant, sun: tuple[float, float]
) -> None:
    """Paint a plant, in place, onto a uint8 canvas (H, W, 4); `sun` (x, y) is a unit vector."""
    species = plant.species
    first = rng.uniform(0, 2 * np.pi)
    cotyledons = plant.stage < 0.45 and rng.uniform() < 0.9 - plant.stage
    if cotyledons and species.arrangement not in ("fan", "trailing"):
        size = (0.75 if plant.stage < 0.15 else 0.5) * rng.uniform(0.8, 1.2)
        pair = Placement(np.zeros((2, 2)), np.array([first, first + np.pi + rng.normal(0, 0.2)]),
                         size * rng.uniform(0.85, 1.1, 2))  # fmt: skip
        _paint(canvas, rng, plant, pair, species.cotyledons.picked(rng, 2), sun)
        if plant.stage < 0.08:
            return
    few, many = species.leaves
    count = max(1, round(few + (many - few) * np.clip(plant.stage + rng.normal(0, 0.12), 0, 1)))
    placement = _PLACEMENTS[species.arrangement](rng, count, first + np.pi / 2)
    _paint(canvas, rng, plant, placement, species.true_leaves.picked(rng, count), sun)


def _spiral(rng: np.random.Generator, count: int, first: float) -> Placement:
    angles = first + np.arange(count) * GOLDEN_ANGLE + rng.normal(0, 0.25, count)
    lengths = np.linspace(1, 0.4, count) * rng.uniform(0.65, 1.1, count)
    return Placement(rng.normal(0, 0.03, (count, 2)), angles, lengths)


def _opposite(rng: np.random.Generator, count: int, first: float) -> Placement:
    order = np.arange(count)
    angles = first + (order % 2) * np.pi + (order // 2) * np.pi / 2 + rng.normal(0, 0.18, count)
    lengths = np.linspace(1, 0.35, count) * rng.uniform(0.75, 1.1, count)
    return Placement(rng.normal(0, 0.03, (count, 2)), angles, lengths)


def _tuft(rng: np.random.Generator, count: int, first: float) -> Placement:
    angles = rng.uniform(0, 2 * np.pi, count)
    return Placement(rng.normal(0, 0.06, (count, 2)), angles, rng.uniform(0.4, 1.0, count))


def _fan(rng: np.random.Generator, count: int, first: float) -> Placement:
    """Leaves in one plane, as in maize and leek."""
    angles = first + np.arange(count) % 2 * np.pi + rng.normal(0, 0.3, count)
    return Placement(rng.normal(0, 0.03, (count, 2)), angles, rng.uniform(0.5, 1.05, count))


def _trailing(rng: np.random.Generator, count: int, first: float) -> Placement:
    """Leaves alternating along a stem that winds over the ground."""
    turns = first + np.cumsum(rng.normal(0, 0.25, count))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (1.7 / count)
    stem = np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)]) - steps.sum(0) / 2
    sides = np.where(np.arange(count) % 2, 1.0, -1.0)
    angles = turns + sides * rng.uniform(0.7, 1.5, count)
    return Placement(stem[1:], angles, rng.uniform(0.2, 0.5, count), stem)


_PLACEMENTS = {
    "spiral": _spiral,
    "opposite": _opposite,
    "tuft": _tuft,
    "fan": _fan,
    "trailing": _trailing,
}


def _placed(points: np.ndarray, plant: Plant, placement: Placement) -> np.ndarray:
    """Map complex leaf coordinates (N, ...) to OpenCV's fixed-point pixels (N, ..., 2)."""
    shape = (-1, *[1] * (points.ndim - 1))
    turns = (placement.lengths * np.exp(1j * placement.angles)).reshape(shape)
    bases = (placement.bases * plant.radius + plant.centre).view(complex).reshape(shape)
    placed = points * (turns * plant.radius) + bases
    return to_fixed(placed.view(float).reshape(*placed.shape, 2))


def _paint(
    canvas: np.ndarray,
    rng: np.random.Generator,
    plant: Plant,
    placement: Placement,
    leaves: Leaves,
    sun: tuple[float, float],
) -> None:
    colours = _colours(rng, plant, placement, sun)
    if placement.stem is not None:
        stem = to_fixed(placement.stem * plant.radius + plant.centre)
        width = max(1, round(plant.radius * 0.04))
        cv2.polylines(
            canvas, [stem], False, _stalk_paint(plant, colours[0]), width, cv2.LINE_8, SHIFT
        )
    if leaves.strokes is not None:
        _paint_strokes(canvas, plant, placement, leaves.strokes, colours)
    else:
        _paint_blades(canvas, rng, plant, placement, leaves, colours)


def _colours(
    rng: np.random.Generator, plant: Plant, placement: Placement, sun: tuple[float, float]
) -> np.ndarray:
    """RGB of the leaves (N, 3): brighter towards the sun and at the top, a few old and yellow."""
    species, count = plant.species, len(placement.angles)
    colour = colorsys.hsv_to_rgb(species.hue % 1, species.saturation, species.value)
    towards = np.cos(placement.angles) * sun[0] + np.sin(placement.angles) * sun[1]
    brightness = 1 + 0.12 * towards + rng.normal(0, 0.10, count) + np.linspace(-0.15, 0.12, count)
    colours = np.array(colour) * plant.tint * 255 * brightness[:, None]
    old = rng.uniform(size=count) < 0.015
    colours[old] = colours[old] * 0.4 + np.array([150, 130, 50]) * 0.6
    return colours + rng.normal(0, 3, (count, 3))


def _stalk_paint(plant: Plant, colour: np.ndarray) -> list[float]:
    return [*np.clip(colour * plant.species.stalk, 0, 255).tolist(), plant.class_id]


def _paint_strokes(
    canvas: np.ndarray,
    plant: Plant,
    placement: Placement,
    strokes: np.ndarray,
    colours: np.ndarray,
) -> None:
    points = _placed(strokes, plant, placement)
    sizes = plant.radius * placement.lengths * plant.species.leaf.stroke
    for leaf, colour, size in zip(points, colours.clip(0, 255).tolist(), sizes, strict=True):
        width = max(1, round(size))
        cv2.polylines(
            canvas, list(leaf), False, [*colour, plant.class_id], width, cv2.LINE_8, SHIFT
        )
        if width > 2:  # the upper side of each segment catches the light
            lit = [*(min(255.0, 1.15 * c) for c in colour), plant.class_id]
            cv2.polylines(canvas, list(leaf), False, lit, width // 2, cv2.LINE_8, SHIFT)


def _paint_blades(
    canvas: np.ndarray,
    rng: np.random.Generator,
    plant: Plant,
    placement: Placement,
    leaves: Leaves,
    colours: np.ndarray,
) -> None:
    """Stalk, blade, darker half, highlight and midrib of each leaf or leaflet."""
    species = plant.species
    assert leaves.polygons is not None and leaves.ribs is not None
    polygons = _placed(leaves.polygons, plant, placement)
    ribs = _placed(leaves.ribs, plant, placement)
    bases = _placed(np.zeros((len(colours), 1)), plant, placement)
    half = polygons.shape[2] // 2
    sides = np.concatenate([polygons[:, :, :half], ribs[:, :, ::-1]], axis=2)
    glossy = rng.uniform(size=len(colours)) < species.gloss
    stalk_width = max(1, round(plant.radius * 0.045))
    dark = 1 - species.fold * np.sin(placement.angles)
    grassy = species.leaf.petiole == 0
    for i, colour in enumerate(colours):
        stalk = _stalk_paint(plant, colour)
        if not grassy:
            end = ribs[i, :, 0] if len(ribs[i]) == 1 else ribs[i, :, :1].mean(0).astype(np.int32)
            line = np.concatenate([bases[i], end])
            cv2.polylines(canvas, [line], False, stalk, stalk_width, cv2.LINE_8, SHIFT)
        if len(polygons[i]) > 3:
            joints = np.concatenate([bases[i], ribs[i, :, 0]])
            order = np.argsort(np.abs(joints - bases[i]).sum(1))
            cv2.polylines(canvas, [joints[order]], False, stalk, stalk_width, cv2.LINE_8, SHIFT)
        paint = [*colour.clip(0, 255).tolist(), plant.class_id]
        if plant.radius < FINE:
            for polygon in polygons[i]:
                cv2.fillPoly(canvas, [polygon], paint, cv2.LINE_8, SHIFT)
            continue
        for j, polygon in enumerate(polygons[i]):
            own = colour * (1 + 0.05 * ((j * 7) % 3 - 1))
            paint[:3] = own.clip(0, 255).tolist()
            cv2.fillPoly(canvas, [polygon], paint, cv2.LINE_8, SHIFT)
            paint[:3] = (own * dark[i]).clip(0, 255).tolist()
            cv2.fillPoly(canvas, [sides[i, j]], paint, cv2.LINE_8, SHIFT)
            paint[:3] = (own * species.edge).clip(0, 255).tolist()
            cv2.polylines(canvas, [polygon], True, paint, 1, cv2.LINE_8, SHIFT)
            if glossy[i]:
                middle = ribs[i, j, 1]
                patch = ((polygon - middle) * 0.45).astype(np.int32) + (
                    middle + polygon[half // 2]
                ) // 2
                paint[:3] = (own * 1.25 + 35).clip(0, 255).tolist()
                cv2.fillPoly(canvas, [patch], paint, cv2.LINE_8, SHIFT)
            rib = [*(own * species.rib).clip(0, 255).tolist(), plant.class_id]
            cv2.polylines(canvas, [ribs[i, j]], False, rib, 1, cv2.LINE_8, SHIFT)
            if plant.radius > COARSE and not grassy:
                edge = polygon[[half // 4, half // 2, -half // 4, -half // 2]]
                veins = np.stack([np.repeat(ribs[i, j, :2], 2, axis=0)[[0, 2, 0, 2]],
                                  (edge * 3 + ribs[i, j, 1]) // 4], axis=1)  # fmt: skip
                cv2.polylines(canvas, list(veins), False, rib, 1, cv2.LINE_8, SHIFT)
