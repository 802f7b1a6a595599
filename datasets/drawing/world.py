"""Random fields of great variety: `draw_world` makes an image and its label.

Crop and weed can be told apart in the image. The crop is a single species of one age that grows
in rows or, if broadcast, evenly spaced, and dominates. Weeds are of other species, scattered or in
patches, and of any size. Species are invented for each field, so a network cannot memorise which
leaf belongs to a crop, though habits common among crops (rosettes, feathery leaves) are more
frequent for them; see `HABITS` in `datasets/drawing/species.py`.

Lengths are relative to the shorter side of the image.
"""

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.drawing.camera import photograph
from datasets.drawing.grounds import draw_ground
from datasets.drawing.plants import Plant, draw_plant
from datasets.drawing.species import Species, draw_species
from datasets.fields import CROP, SOIL, SUPERSAMPLING, WEED, shrink_label
from datasets.plants import Light
from datasets.soil import draw_soil, smooth_noise

# Kinds of variation that can be left out, for ablations.
KINDS = {
    "grounds": "soils other than that of beet fields, and mulch, film, pipes and litter",
    "tilt": "cameras that look from one side",
    "infrared": "near infrared and false colours",
    "shadows": "coloured shadows",
    "camera": "coloured fringes, blur, sharpening, noise and JPEG",
}
LAYERS = 2  # of plants; each casts shadows on those below
MAX_WEEDS = 90
MAX_CROPS = 150


@dataclass(frozen=True)
class World:
    """Parameters of one scene."""

    light: Light
    pattern: str  # "rows", "broadcast" or "none"
    crop: Species
    crop_radius: float
    crop_stage: float
    row_angle: float
    row_distance: float
    plant_distance: float
    weeds: tuple[Species, ...]
    weed_cover: float  # approximate share of the ground
    weed_patches: float  # share of weeds that grow in patches
    tint: np.ndarray  # RGB factors on all plants


def draw_world(
    rng: np.random.Generator, height: int, width: int, without: Collection[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one field, without some of `KINDS`.

    Returns:
        The image, uint8 (H, W, 3) RGB, and its label, uint8 (H, W) of SOIL, CROP and WEED. A pixel
        at least half covered by plants gets the class that covers more of it.
    """
    for_scene, for_ground, for_plants, for_camera = rng.spawn(4)
    world = draw_scene(for_scene)
    draw = draw_soil if "grounds" in without else draw_ground
    ground = draw(for_ground, height, width, world.light, world.row_angle)
    large = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    canvas = cv2.resize(np.pad(ground, ((0, 0), (0, 0), (0, 1)), constant_values=SOIL), large)
    _plant(for_plants, canvas, world)
    if for_camera.uniform() < 0.3 and "tilt" not in without:
        canvas = _tilted(for_camera, canvas)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)[..., :3]
    ids = np.ascontiguousarray(canvas[..., 3])
    plants = cv2.compare(ids, SOIL, cv2.CMP_NE)  # type: ignore[call-overload]  # the stubs know no scalar
    cover = cv2.resize(plants, (width, height), interpolation=cv2.INTER_AREA)
    cover = cover.astype(np.float32) / 255
    image = cv2.add(image, _leaf_texture(for_camera, cover), dtype=cv2.CV_32F)
    photo = photograph(for_camera, image, cover, without)
    return photo, shrink_label(ids, height, width)


def _leaf_texture(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Texture of the leaves, float32 (H, W, 3), to be added to the image."""
    height, width = cover.shape
    texture = smooth_noise(rng, height, width, max(2.0, min(height, width) / 90))
    texture *= np.float32(rng.uniform(2, 12))
    texture += np.float32(rng.uniform(1, 8)) * rng.standard_normal(cover.shape, dtype=np.float32)
    texture *= cover
    return cv2.merge([texture, texture * np.float32(1.1), texture * np.float32(0.6)])


def draw_scene(rng: np.random.Generator) -> World:
    """Sample the parameters of a scene."""
    sun, harsh = rng.uniform(0, 2 * np.pi), rng.beta(0.8, 0.8)
    light = Light((np.cos(sun), np.sin(sun)), shadow_length=0.05 + 0.4 * harsh * rng.uniform(),
                  shadow_depth=0.15 + 0.6 * harsh, shadow_softness=0.25 - 0.22 * harsh)  # fmt: skip
    crop = draw_species(rng, weed=False)
    radius = np.exp(rng.uniform(np.log(0.03), np.log(0.22)))
    if rng.uniform() < 0.12:
        radius = rng.uniform(0.2, 0.5)
    drilled = rng.uniform() < 0.3
    closeness = rng.uniform(0.4, 1.0) if drilled else np.exp(rng.uniform(np.log(1.1), np.log(3.5)))
    count = int(rng.integers(1, 6))
    row_distance = max(0.12, radius * np.exp(rng.uniform(np.log(2.2), np.log(9))))
    weeds = tuple(_other_species(rng, crop) for _ in range(count))
    return World(
        light=light,
        pattern=rng.choice(["rows", "broadcast", "none"], p=[0.84, 0.09, 0.07]),
        crop=crop,
        crop_radius=radius,
        crop_stage=rng.beta(1.0, 1.1),
        row_angle=rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.2),
        row_distance=row_distance,
        plant_distance=max(closeness * radius, 1 / (MAX_CROPS * row_distance)),
        weeds=weeds,
        weed_cover=0.0 if rng.uniform() < 0.08 else np.exp(rng.uniform(np.log(0.03), np.log(0.5))),
        weed_patches=rng.choice([0.0, rng.uniform()]),
        tint=rng.normal((1, 1, 1), (0.06, 0.03, 0.06)) * np.exp(rng.normal(0, 0.15)),
    )


def _other_species(rng: np.random.Generator, crop: Species) -> Species:
    """Sample a weed that differs visibly from the crop."""
    while True:
        weed = draw_species(rng, weed=True)
        like = weed.leaf.kind == crop.leaf.kind and weed.arrangement == crop.arrangement
        aspects = np.log(weed.leaf.aspect / crop.leaf.aspect)
        if not like or abs(weed.hue - crop.hue) > 0.03 or abs(aspects) > 0.4:
            return weed


def _plant(rng: np.random.Generator, canvas: np.ndarray, world: World) -> None:
    """Paint all plants onto the canvas, in layers that cast shadows on those below."""
    height, width = canvas.shape[:2]
    plants = _place_crop(rng, height, width, world) + _place_weeds(rng, height, width, world)
    plants = [plant for plant in plants if _in_view(plant, height, width)]
    plants.sort(key=lambda plant: plant.radius * rng.uniform(0.4, 1.6))
    bounds = np.linspace(0, len(plants), LAYERS + 1).astype(int)
    for first, last in zip(bounds, bounds[1:], strict=False):
        layer = np.zeros_like(canvas)
        for plant in plants[first:last]:
            draw_plant(layer, rng, plant, world.light.direction)
        if last > first:
            _damage(rng, layer)
            size = float(np.median([plant.radius for plant in plants[first:last]]))
            _compose(canvas, layer, world.light, size)


def _compose(canvas: np.ndarray, layer: np.ndarray, light: Light, size: float) -> None:
    """Darken the canvas where the layer's shadow falls, then paste the layer."""
    ids = np.ascontiguousarray(layer[..., 3])
    mask = cv2.compare(ids, 0, cv2.CMP_NE)  # type: ignore[call-overload]  # the stubs know no scalar
    shift = -np.array(light.direction) * light.shadow_length * size
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    shadow = cv2.warpAffine(mask, move, mask.shape[::-1])
    blur = 2 * int(light.shadow_softness * size / 2) + 3
    kept = 255 * (1 - light.shadow_depth)
    paint = np.array([kept, kept, min(255, kept * 1.08), 255])  # bluish sky light; class is kept
    factor = cv2.merge(
        [255 - cv2.multiply(cv2.blur(shadow, (blur, blur)), (255 - p) / 255) for p in paint]
    )
    shaded = cv2.multiply(canvas, factor, scale=1 / 255)
    canvas[...] = cv2.copyTo(layer, mask, shaded)


def _damage(rng: np.random.Generator, layer: np.ndarray) -> None:
    """Add holes eaten by insects, and brown spots of disease."""
    height, width = layer.shape[:2]
    unit = min(height, width)
    for share, paint in ((0.08, None), (0.08, np.array([120, 95, 50]))):
        if rng.uniform() > share:
            continue
        for _ in range(int(rng.integers(5, 80))):
            place = rng.uniform((0, 0), (width, height)).astype(int).tolist()
            size = max(1, int(unit * np.exp(rng.uniform(np.log(0.002), np.log(0.012)))))
            found = int(layer[place[1], place[0], 3])
            if found:
                colour = (
                    (0, 0, 0, 0)
                    if paint is None
                    else (*(paint * rng.uniform(0.6, 1.3)).tolist(), found)
                )
                cv2.circle(layer, place, size, colour, -1)


def _tilted(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """View the field at an angle: distant parts are smaller."""
    height, width = canvas.shape[:2]
    shrink = rng.uniform(0.1, 0.45)
    source = np.array([[0, 0], [1, 0], [1 - shrink / 2, 1], [shrink / 2, 1]], np.float32)
    target = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    turns = int(rng.integers(4))
    source = np.roll(source if turns % 2 == 0 else source[:, ::-1][[0, 3, 2, 1]], 0, axis=0)
    if turns >= 2:
        source = 1 - source[[2, 3, 0, 1]]
    size = np.array([width, height], np.float32)
    matrix = cv2.getPerspectiveTransform(source * size, target * size)
    colours = cv2.warpPerspective(canvas, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    ids = cv2.warpPerspective(np.ascontiguousarray(canvas[..., 3]), matrix, (width, height),
                              flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    colours[..., 3] = ids
    return colours


def _place_crop(rng: np.random.Generator, height: int, width: int, world: World) -> list[Plant]:
    if world.pattern == "none":
        return []
    unit = min(height, width)
    places = _rows if world.pattern == "rows" else _broadcast
    centres = places(rng, height / unit, width / unit, world) * unit
    spread = rng.uniform(0.05, 0.25)
    sizes = world.crop_radius * unit * np.clip(rng.normal(1, spread, len(centres)), 0.4, 1.5)
    stages = np.clip(world.crop_stage + rng.normal(0, 0.08, len(centres)), 0, 1)
    return [
        _one(rng, world, world.crop, CROP, centre, size, stage)
        for centre, size, stage in zip(centres, sizes, stages, strict=True)
    ]


def _rows(rng: np.random.Generator, height: float, width: float, world: World) -> np.ndarray:
    """Positions (N, 2) in rows across the whole image, with gaps, a little off the line."""
    reach = np.hypot(height, width) / 2 + world.crop_radius
    lines = np.arange(-np.ceil(reach / world.row_distance), np.ceil(reach / world.row_distance) + 1)
    lines = lines * world.row_distance + rng.uniform(-0.5, 0.5) * min(world.row_distance, 0.6)
    if rng.uniform() < 0.12:  # twin rows
        twin = rng.uniform(0.8, 1.6) * world.crop_radius
        lines = np.concatenate([lines, lines + twin])
    along = np.arange(-reach, reach, world.plant_distance)
    x = along + rng.uniform(0, world.plant_distance, (len(lines), 1))
    x = x + rng.normal(0, rng.uniform(0.03, 0.25) * world.plant_distance, x.shape)
    y = lines[:, None] + rng.normal(0, rng.uniform(0.02, 0.3) * world.crop_radius, x.shape)
    y = y + rng.normal(0, 0.03) * x**2  # rows need not be straight
    kept = rng.uniform(size=x.shape) >= rng.choice([rng.uniform(0, 0.15), rng.uniform(0, 0.5)])
    places = np.stack([x[kept], y[kept]], axis=1)
    cos, sin = np.cos(world.row_angle), np.sin(world.row_angle)
    places = places @ np.array([[cos, sin], [-sin, cos]]) + np.array([width, height]) / 2
    return _seen(places, height, width, world.crop_radius)


def _broadcast(rng: np.random.Generator, height: float, width: float, world: World) -> np.ndarray:
    """Positions (N, 2) all over the image, evenly spaced."""
    step = max(1.3 * world.plant_distance, 1.2 * world.crop_radius)
    x, y = np.meshgrid(np.arange(-step, width + step, step), np.arange(-step, height + step, step))
    places = np.stack([x.ravel(), y.ravel()], 1) + rng.uniform(-0.4, 0.4, (x.size, 2)) * step
    return rng.permutation(_seen(places, height, width, world.crop_radius))[:MAX_CROPS]


def _seen(places: np.ndarray, height: float, width: float, margin: float) -> np.ndarray:
    inside = ((places > -margin) & (places < np.array([width, height]) + margin)).all(axis=1)
    return places[inside]


def _place_weeds(rng: np.random.Generator, height: int, width: int, world: World) -> list[Plant]:
    """Weeds in patches or anywhere; size varies by species and by plant."""
    unit = min(height, width)
    patches = rng.uniform((0, 0), (width, height), (int(rng.integers(1, 5)), 2))
    sizes = world.crop_radius * np.exp(rng.normal(-0.2, 0.6, len(world.weeds)))
    sizes = np.clip(sizes, 0.015, 0.4)
    shares = rng.dirichlet(np.full(len(world.weeds), 0.8))
    stages = np.clip(world.crop_stage + rng.normal(-0.1, 0.35, len(world.weeds)), 0, 1)
    area = float((shares * sizes**2).sum()) * 0.5 * unit**2
    count = min(MAX_WEEDS, rng.poisson(world.weed_cover * height * width / area))
    plants = []
    for kind in rng.choice(len(world.weeds), count, p=shares):
        if rng.uniform() < world.weed_patches:
            centre = rng.normal(patches[rng.integers(len(patches))], 0.12 * unit)
        else:
            centre = rng.uniform((0, 0), (width, height))
        size = sizes[kind] * unit * np.exp(rng.normal(0, 0.3))
        stage = np.clip(stages[kind] + rng.normal(0, 0.15), 0, 1)
        plants.append(_one(rng, world, world.weeds[kind], WEED, centre, size, stage))
    return plants


def _one(
    rng: np.random.Generator,
    world: World,
    species: Species,
    class_id: int,
    centre: np.ndarray,
    radius: float,
    stage: float,
) -> Plant:
    tint = world.tint * np.exp(rng.normal(0, 0.06)) * rng.normal(1, 0.02, 3)
    return Plant(
        species, class_id, tuple(centre.tolist()), float(radius), float(stage), tuple(tint.tolist())
    )


def _in_view(plant: Plant, height: int, width: int) -> bool:
    x, y = plant.centre
    return -plant.radius < x < width + plant.radius and -plant.radius < y < height + plant.radius
