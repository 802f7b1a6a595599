"""Plants seen from above: species defined by parameters, drawn leaf by leaf with OpenCV.

The canvas has four channels, red, green, blue and class id, and every stroke paints all four at
once: image and label cannot disagree.
"""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

OUTLINE_POINTS = 13  # along one side of a leaf
VEINS = [3, 5, 7]  # the outline points at which side veins begin
VEINS_END = [5, 7, 9]  # and end
SHIFT = 4
FIXED = 1 << SHIFT  # OpenCV's fixed-point coordinates: sixteenths of a pixel
GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))  # between successive leaves of a rosette

Range = tuple[float, float]


@dataclass(frozen=True)
class Species:
    """Parameters of one kind of plant; ranges are sampled anew for each plant or leaf."""

    name: str
    arrangement: str  # "spiral" (golden angle), "opposite" (pairs at quarter turns), "tuft"
    leaves: tuple[int, int]  # number for a seedling, for a grown plant
    aspect: Range  # width / length of a blade
    petiole: Range  # stalk / (stalk + blade)
    outline: tuple[float, float]  # exponents of t and 1 - t: small is blunt, large is pointed
    teeth: tuple[int, int] = (0, 0)  # along one side
    depth: Range = (0.0, 0.0)  # depth of the teeth / half width
    wave: float = 0.05  # irregularity of the edge / half width
    bend: Range = (-0.15, 0.15)  # sideways shift of the tip / blade length
    hue: Range = (0.25, 0.30)  # HSV, all in 0..1
    saturation: Range = (0.42, 0.65)
    value: Range = (0.45, 0.68)
    fold: float = 0.16  # how much brighter one half of a leaf can be
    rib: float = 1.14  # brightness of midrib and veins / that of the blade
    stalk: tuple[float, float, float] = (1.08, 1.08, 1.08)  # colour / that of the blade


BEET = Species(
    "beet", "spiral", leaves=(4, 12), aspect=(0.44, 0.62), petiole=(0.28, 0.46),
    outline=(0.62, 0.42), wave=0.10, hue=(0.295, 0.335), saturation=(0.48, 0.68),
    value=(0.42, 0.60), rib=1.40, stalk=(1.55, 1.05, 1.10),
)  # fmt: skip
GOOSEFOOT = Species(
    "goosefoot", "opposite", leaves=(4, 10), aspect=(0.50, 0.72), petiole=(0.22, 0.40),
    outline=(0.75, 0.85), teeth=(2, 4), depth=(0.10, 0.30),
    hue=(0.275, 0.335), saturation=(0.16, 0.34), value=(0.50, 0.68),
)  # fmt: skip
SHEPHERDS_PURSE = Species(
    "shepherd's purse", "spiral", leaves=(6, 14), aspect=(0.24, 0.40), petiole=(0.10, 0.25),
    outline=(0.95, 0.45), teeth=(3, 5), depth=(0.35, 0.65), hue=(0.225, 0.265),
    saturation=(0.48, 0.66),
)  # fmt: skip
SPEEDWELL = Species(
    "speedwell", "opposite", leaves=(4, 8), aspect=(0.66, 0.95), petiole=(0.15, 0.35),
    outline=(0.45, 0.45), teeth=(2, 3), depth=(0.03, 0.12), hue=(0.245, 0.285),
    value=(0.52, 0.72), rib=0.80,
)  # fmt: skip
NIGHTSHADE = Species(  # the most similar to a young beet
    "nightshade", "opposite", leaves=(2, 8), aspect=(0.40, 0.58), petiole=(0.25, 0.42),
    outline=(0.60, 0.65), wave=0.08, hue=(0.285, 0.325), saturation=(0.45, 0.66),
    value=(0.34, 0.52), rib=0.86, stalk=(1.15, 0.80, 1.05),
)  # fmt: skip
MEADOW_GRASS = Species(
    "meadow grass", "tuft", leaves=(5, 16), aspect=(0.035, 0.075), petiole=(0.0, 0.05),
    outline=(0.25, 0.60), wave=0.0, bend=(-0.5, 0.5), hue=(0.215, 0.265), fold=0.08,
)  # fmt: skip
MILLET = Species(
    "millet", "tuft", leaves=(2, 6), aspect=(0.09, 0.16), petiole=(0.0, 0.08),
    outline=(0.35, 0.75), wave=0.02, bend=(-0.35, 0.35), hue=(0.235, 0.285), fold=0.14,
)  # fmt: skip

DICOTS = (GOOSEFOOT, SHEPHERDS_PURSE, SPEEDWELL, NIGHTSHADE)
GRASSES = (MEADOW_GRASS, MILLET)


@dataclass(frozen=True)
class Light:
    """Direction of the light, and the shadows that it casts."""

    direction: tuple[float, float]  # unit vector (x, y) towards the light
    shadow_length: float  # / radius of the plant, like the softness
    shadow_depth: float  # 0 none .. 1 black
    shadow_softness: float  # width of the blur


@dataclass(frozen=True)
class Plant:
    """One plant on the canvas; lengths in canvas pixels."""

    species: Species
    class_id: int
    centre: tuple[float, float]  # (x, y)
    radius: float  # of the longest leaf
    stage: float  # 0 seedling .. 1 grown
    hue_shift: float = 0.0  # that of its field, plus a little of its own


def to_fixed(points: np.ndarray) -> np.ndarray:
    """Convert pixel coordinates to OpenCV's fixed-point integers, int32."""
    return np.round(points * FIXED).astype(np.int32)


def _leaf_frames(rng: np.random.Generator, plant: Plant) -> tuple[np.ndarray, np.ndarray]:
    """Angles (N,) and lengths (N,) of the leaves, lowest (oldest) first."""
    species = plant.species
    few, many = species.leaves
    count = max(1, round(few + (many - few) * np.clip(plant.stage + rng.normal(0, 0.12), 0, 1)))
    order = np.arange(count)
    if species.arrangement == "spiral":
        angles = order * GOLDEN_ANGLE + rng.normal(0, 0.22, count)
        lengths = np.linspace(1.0, 0.45, count)
    elif species.arrangement == "opposite":
        angles = (order % 2) * np.pi + (order // 2) * np.pi / 2 + rng.normal(0, 0.16, count)
        lengths = np.linspace(1.0, 0.35, count)
    else:
        angles = rng.uniform(0, 2 * np.pi, count)
        lengths = rng.uniform(0.5, 1.0, count)
    # Leaves rise at different angles, so some look shorter from above.
    lengths = lengths * rng.uniform(0.78, 1.12, count)
    return angles + rng.uniform(0, 2 * np.pi), lengths * plant.radius


def _outlines(rng: np.random.Generator, plant: Plant) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left edges, right edges and midribs of all leaves, int32 (N, OUTLINE_POINTS, 2) in FIXED."""
    species = plant.species
    angles, lengths = _leaf_frames(rng, plant)
    count = len(angles)
    stalk = lengths * rng.uniform(*species.petiole, count)
    blade = lengths - stalk
    half_width = blade * rng.uniform(*species.aspect) * rng.uniform(0.85, 1.15, count) / 2

    t = np.linspace(0, 1, OUTLINE_POINTS)
    profile = t ** species.outline[0] * (1 - t) ** species.outline[1]
    profile = profile / profile.max()
    if species.teeth[1]:
        teeth = rng.integers(species.teeth[0], species.teeth[1] + 1)
        notches = 0.5 + 0.5 * np.cos(2 * np.pi * teeth * t + 2.0)
        profile = profile * (1 - rng.uniform(*species.depth) * notches)
    edges = profile * (1 + species.wave * rng.standard_normal((2, count, OUTLINE_POINTS)))

    along = stalk[:, None] + blade[:, None] * t
    middle = (rng.uniform(*species.bend, count) * blade)[:, None] * t**2
    across = np.stack(
        [middle + half_width[:, None] * edges[0], middle - half_width[:, None] * edges[1], middle]
    )
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    points = (
        np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1) + plant.centre
    )
    left, right, middle = to_fixed(points)
    return left, right, middle


def _cast_shadow(canvas: np.ndarray, plant: Plant, outlines: np.ndarray, light: Light) -> None:
    """Darken what is below the plant: soil and lower plants."""
    offset = -np.array(light.direction) * light.shadow_length * plant.radius
    shadows = outlines + to_fixed(offset)
    margin = int(plant.radius * 0.3) + 3
    x0, y0 = np.maximum((shadows.min((0, 1)) >> SHIFT) - margin, 0).tolist()
    x1, y1 = ((shadows.max((0, 1)) >> SHIFT) + margin).tolist()
    view = canvas[y0 : max(y1, 0), x0 : max(x1, 0)]
    if not view.size:
        return
    factor = np.full(view.shape, 255, np.uint8)
    kept = 255 * (1 - light.shadow_depth)
    colour = (kept, kept, min(255, kept * 1.08), 255)  # bluish sky light; the class is kept
    for shadow in shadows - np.array([x0 * FIXED, y0 * FIXED], np.int32):
        cv2.fillPoly(factor, [shadow], colour, cv2.LINE_8, SHIFT)
    blur = 2 * int(light.shadow_softness * plant.radius / 2) + 3
    cv2.multiply(view, cv2.blur(factor, (blur, blur)), dst=view, scale=1 / 255)


def _leaf_colours(
    rng: np.random.Generator, plant: Plant, angles: np.ndarray, light: Light
) -> np.ndarray:
    """RGB of the leaves, (N, 3): one colour per plant, brighter for leaves that face the light."""
    species = plant.species
    colour = colorsys.hsv_to_rgb(
        rng.uniform(*species.hue) + plant.hue_shift,
        rng.uniform(*species.saturation),
        rng.uniform(*species.value),
    )
    towards = np.cos(angles) * light.direction[0] + np.sin(angles) * light.direction[1]
    count = len(angles)
    brightness = 1 + 0.10 * towards + rng.normal(0, 0.06, count) + np.linspace(-0.08, 0.10, count)
    return np.array(colour) * 255 * brightness[:, None] + rng.normal(0, 3, (count, 3))


def draw_plant(canvas: np.ndarray, rng: np.random.Generator, plant: Plant, light: Light) -> None:
    """Paint a plant and its shadow, in place, onto a uint8 canvas (H, W, 4) of RGB and class id."""
    left, right, middle = _outlines(rng, plant)
    outlines = np.concatenate([left, right[:, ::-1]], axis=1)
    _cast_shadow(canvas, plant, outlines, light)

    tips = middle[:, -1] - middle[:, 0]
    angles = np.arctan2(tips[:, 1], tips[:, 0])
    sun = np.arctan2(light.direction[1], light.direction[0])
    fold = plant.species.fold * np.sin(angles - sun)
    paints = _paints(_leaf_colours(rng, plant, angles, light), fold, plant)
    base = to_fixed(np.array(plant.centre))
    stalks = np.insert(middle[:, :2], 0, base, axis=1)
    halves = [np.concatenate([side, middle[:, ::-1]], axis=1) for side in (left, right)]
    veins = _veins(left, right, middle)
    broad = plant.species.arrangement != "tuft"
    stalk_width = max(1, round(plant.radius * 0.05))
    for index, (stalk_paint, base_paint, lit, dark, rib) in enumerate(paints):
        if broad:
            stalk = [stalks[index]]
            cv2.polylines(canvas, stalk, False, stalk_paint, stalk_width, cv2.LINE_8, SHIFT)
        # The whole blade first, so that no soil shows between its halves.
        cv2.fillPoly(canvas, [outlines[index]], base_paint, cv2.LINE_8, SHIFT)
        cv2.fillPoly(canvas, [halves[0][index]], lit, cv2.LINE_8, SHIFT)
        cv2.fillPoly(canvas, [halves[1][index]], dark, cv2.LINE_8, SHIFT)
        if broad:
            lines = [middle[index], *veins[:, index]]
            cv2.polylines(canvas, lines, False, rib, 1, cv2.LINE_8, SHIFT)


def _veins(left: np.ndarray, right: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Side veins, (2 * len(VEINS), N, 2, 2): from the midrib towards the tip, to near the edge."""
    sides = np.concatenate([left[:, VEINS_END], right[:, VEINS_END]], axis=1)
    starts = np.tile(middle[:, VEINS], (1, 2, 1))
    ends = (np.tile(middle[:, VEINS_END], (1, 2, 1)) + 4 * sides) // 5
    return np.ascontiguousarray(np.stack([starts, ends], axis=2).swapaxes(0, 1))


def _paints(colours: np.ndarray, fold: np.ndarray, plant: Plant) -> list:
    """Canvas values of stalk, blade, both halves and veins, per leaf."""
    ones = np.ones_like(fold)
    species = plant.species
    factors = np.stack([ones, ones, 1 + fold, 1 - fold, species.rib * ones], axis=1)
    paints = np.full((len(fold), 5, 4), float(plant.class_id))
    paints[..., :3] = colours[:, None] * factors[..., None]
    paints[:, 0, :3] *= species.stalk
    paints[..., :3] = paints[..., :3].clip(0, 255)
    return paints.tolist()
