"""Leaf shapes: outlines and strokes of leaves along the x axis, from (0, 0) to (1, 0).

All leaves of a plant are made at once. A leaf is either `polygons` (blades and leaflets) or
`strokes` (the segments of feathery leaves, drawn with one width).
"""

from dataclasses import dataclass

import numpy as np

BLADE_POINTS, TOOTHED_POINTS, LEAFLET_POINTS, PALMATE_POINTS = 14, 30, 7, 40


@dataclass(frozen=True)
class LeafShape:
    """One kind of leaf; lengths are relative to the leaf's."""

    kind: str  # "blade", "palmate", "pinnate", "digitate" or "feathery"
    aspect: float  # width / length of the blade, or of a leaflet
    petiole: float = 0.2  # bare stalk
    outline: tuple[float, float] = (0.6, 0.6)  # powers of t and 1 - t: small blunt, large pointed
    lobes: int = 0  # along one side; for a palmate leaf, all around
    depth: float = 0.0  # of the lobes / half width
    teeth: int = 0  # along one side
    wave: float = 0.05  # irregularity of the edge / half width
    bend: float = 0.12  # sideways shift of the tip, standard deviation
    pairs: int = 3  # of leaflets or pinnae
    segments: int = 3  # pairs of segments on the longest pinna of a feathery leaf
    stroke: float = 0.04  # width of those segments


@dataclass(frozen=True)
class Leaves:
    """N leaves: polygons (N, P, M) with midribs (N, P, 3), or strokes (N, S, 2), of points x + iy.

    Complex numbers, so that one product and one sum rotate, scale and move a leaf.
    """

    polygons: np.ndarray | None = None
    ribs: np.ndarray | None = None
    strokes: np.ndarray | None = None

    def picked(self, rng: np.random.Generator, count: int) -> "Leaves":
        """Choose leaves at random."""
        if self.strokes is not None:
            return Leaves(strokes=self.strokes[rng.integers(len(self.strokes), size=count)])
        assert self.polygons is not None and self.ribs is not None
        chosen = rng.integers(len(self.polygons), size=count)
        return Leaves(self.polygons[chosen], self.ribs[chosen])


def make_leaves(rng: np.random.Generator, shape: LeafShape, count: int) -> Leaves:
    """Draw `count` leaves of a shape, no two alike."""
    if shape.kind == "feathery":
        strokes = _feathery(rng, shape, count)
        return Leaves(strokes=_bend(strokes, rng.normal(0, shape.bend, count)))
    makers = {"blade": _blades, "palmate": _palmate, "pinnate": _pinnate, "digitate": _digitate}
    polygons, ribs = makers[shape.kind](rng, shape, count)
    bends = rng.normal(0, shape.bend, count)
    return Leaves(_bend(polygons, bends), _bend(ribs, bends))


def _bend(points: np.ndarray, bends: np.ndarray) -> np.ndarray:
    """Move points (N, ..., 2) sideways by bends (N,) times the square of x; returns x + iy."""
    x, y = points[..., 0], points[..., 1]
    return x + 1j * (y + bends.reshape(-1, *[1] * (x.ndim - 1)) * x**2)


def _profile(shape: LeafShape, t: np.ndarray, phase: float) -> np.ndarray:
    """Half width at t, 1 at the widest place."""
    widths = t ** shape.outline[0] * (1 - t) ** shape.outline[1]
    widths = widths / widths.max()
    for waves, depth in ((shape.lobes, shape.depth), (shape.teeth, 0.12)):
        if waves:
            widths = widths * (1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * waves * t + phase)))
    return widths


def _blades(rng: np.random.Generator, shape: LeafShape, count: int) -> tuple:
    size = TOOTHED_POINTS if shape.lobes or shape.teeth else BLADE_POINTS
    t = np.linspace(0, 1, size)
    edges = _profile(shape, t, 2.0) * (1 + shape.wave * rng.standard_normal((2, count, size)))
    half = shape.aspect * (1 - shape.petiole) / 2 * rng.uniform(0.75, 1.2, (count, 1))
    x = np.broadcast_to(shape.petiole + (1 - shape.petiole) * t, (count, size))
    upper = np.stack([x, half * edges[0]], axis=-1)
    lower = np.stack([x, -half * edges[1]], axis=-1)
    ribs = np.zeros((count, 1, 3, 2))
    ribs[..., 0] = np.linspace(shape.petiole, 0.97, 3)
    return np.concatenate([upper, lower[:, ::-1]], axis=1)[:, None], ribs


def _palmate(rng: np.random.Generator, shape: LeafShape, count: int) -> tuple:
    """Lobes around the end of the stalk, with a gap towards the plant."""
    turn = np.linspace(-2.75, 2.75, PALMATE_POINTS)
    lobes = np.abs(np.cos(turn * shape.lobes / 5.5 * np.pi / 2 * 2))
    radius = (1 - shape.petiole) * (1 - shape.depth * (1 - lobes)) * (0.75 + 0.25 * np.cos(turn))
    radius = radius * (1 + shape.wave * rng.standard_normal((count, PALMATE_POINTS)))
    middle = shape.petiole * 0.9
    spread = max(shape.aspect, 0.6)
    outline = np.stack([middle + radius * np.cos(turn), spread * radius * np.sin(turn)], axis=-1)
    outline[..., 0] = middle + (outline[..., 0] - middle) * 0.62 + 0.1
    ribs = np.zeros((count, 1, 3, 2))
    ribs[..., 0] = np.linspace(middle, 0.85, 3)
    return outline[:, None], ribs


def _leaflets(
    rng: np.random.Generator, shape: LeafShape, count: int, bases, turns, lengths
) -> tuple:
    """Small blades at `bases` (P, 2), rotated by `turns` (P,), of `lengths` (P,)."""
    t = np.linspace(0, 1, LEAFLET_POINTS)
    half = shape.aspect / 2 * _profile(shape, t, 2.0)
    outline = np.concatenate([np.stack([t, half], 1), np.stack([t, -half], 1)[::-1]])
    rib = np.stack([np.linspace(0, 0.9, 3), np.zeros(3)], axis=1)
    turns = turns + rng.normal(0, 0.12, (count, len(turns)))
    lengths = lengths * rng.uniform(0.8, 1.15, turns.shape)
    cos, sin = np.cos(turns) * lengths, np.sin(turns) * lengths

    def placed(points: np.ndarray) -> np.ndarray:
        x, y = points[:, 0], points[:, 1]
        across = np.stack(
            [
                cos[..., None] * x - sin[..., None] * y,
                sin[..., None] * x + cos[..., None] * y,
            ],
            axis=-1,
        )
        return across + bases[None, :, None]

    return placed(outline), placed(rib)


def _pinnate(rng: np.random.Generator, shape: LeafShape, count: int) -> tuple:
    """Pairs of leaflets along a stalk, and one at its end."""
    along = np.linspace(shape.petiole, 0.78, shape.pairs)
    sizes = 0.26 + 0.14 * np.sin(np.pi * np.linspace(0.15, 0.85, shape.pairs))
    bases = np.stack([np.r_[along, along, 0.74], np.zeros(2 * shape.pairs + 1)], axis=1)
    turn = np.full(shape.pairs, 1.15)
    return _leaflets(rng, shape, count, bases, np.r_[turn, -turn, 0.0], np.r_[sizes, sizes, 0.30])


def _digitate(rng: np.random.Generator, shape: LeafShape, count: int) -> tuple:
    """Leaflets like fingers at the end of the stalk: clover, bean, cinquefoil."""
    fingers = shape.pairs
    turns = np.linspace(-1.0, 1.0, fingers) * (1.5 if fingers == 3 else 1.9)
    bases = np.repeat([[shape.petiole, 0.0]], fingers, axis=0)
    return _leaflets(rng, shape, count, bases, turns, np.full(fingers, 1 - shape.petiole))


def _feathery(rng: np.random.Generator, shape: LeafShape, count: int) -> np.ndarray:
    """Twice-pinnate leaves of carrot, dill or chamomile: strokes (N, S, 2, 2)."""
    strokes = [np.zeros((count, 1, 2, 2))]
    strokes[0][:, 0, 1, 0] = 0.97  # the stalk
    places = np.linspace(max(shape.petiole, 0.15), 0.93, shape.pairs)
    reach = np.sin(np.pi * np.linspace(0.28, 0.97, shape.pairs)) ** 0.8
    for side in (1, -1):
        lengths = shape.aspect * 0.62 * reach * rng.uniform(0.75, 1.2, (count, shape.pairs))
        turns = side * (0.85 + rng.normal(0, 0.12, (count, shape.pairs)))
        start = np.stack([np.broadcast_to(places, lengths.shape), np.zeros_like(lengths)], axis=-1)
        pinna = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * lengths[..., None]
        strokes.append(np.stack([start, start + pinna], axis=2))
        for part in np.linspace(0.35, 0.85, shape.segments):
            base = start + part * pinna
            for way in (0.8, -0.8):
                turn = turns + way + rng.normal(0, 0.1, turns.shape)
                length = lengths * (0.62 - 0.4 * part) * 1.1
                tip = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * length[..., None]
                strokes.append(np.stack([base, base + tip], axis=2))
    return np.concatenate(strokes, axis=1)
