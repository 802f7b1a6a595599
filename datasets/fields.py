"""Synthetic crop fields seen from above: rows of crop, weeds of two kinds, light and camera.

Scene parameters (light, growth stage, rows) are sampled first, then the ground is drawn, then the
plants one by one, then camera effects are applied. Lengths scale with the shorter side of the
image: a larger image shows the same field in more detail.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.plants import BEET, DICOTS, GRASSES, Light, Plant, Species, draw_plant
from datasets.soil import coordinates, draw_soil, smooth_noise

SOIL, CROP, WEED = range(3)  # class ids of the labels, in the order of Sugar Beets 2016
SUPERSAMPLING = 2  # images are drawn this many times larger, then averaged

# DataLoader workers are processes; images this small gain nothing from OpenCV's own threads.
cv2.setNumThreads(0)


@dataclass(frozen=True)
class Scene:
    """Parameters that everything in one image shares; lengths are relative to the shorter side."""

    light: Light
    stage: float  # growth, 0 seedlings .. 1 leaves that close the row
    crop_radius: float
    row_angle: float  # radians; 0 is a row along the image's x axis
    row_distance: float
    plant_distance: float
    weeds: int
    weed_patches: float  # share of the weeds that grow in patches
    hue_shift: float


def draw_scene(rng: np.random.Generator) -> Scene:
    """Sample the parameters of a scene."""
    sun = rng.uniform(0, 2 * np.pi)
    harsh = rng.uniform(0, 1)  # 0 overcast, 1 clear sky
    stage = rng.beta(1.1, 1.4)
    radius = (0.055 + 0.13 * stage) * rng.uniform(0.9, 1.1)
    quarter_turn = rng.choice([0.0, np.pi / 2], p=[0.3, 0.7])
    return Scene(
        light=Light(
            direction=(np.cos(sun), np.sin(sun)),
            shadow_length=0.08 + 0.30 * harsh,
            shadow_depth=0.22 + 0.40 * harsh,
            shadow_softness=0.30 - 0.24 * harsh,
        ),
        stage=stage,
        crop_radius=radius,
        row_angle=quarter_turn + rng.normal(0, 0.14),
        row_distance=rng.uniform(0.45, 0.85),
        plant_distance=max(rng.uniform(0.16, 0.34), 1.25 * radius),
        weeds=1 + rng.poisson(rng.uniform(2, 16)),
        weed_patches=rng.uniform(0, 0.7),
        hue_shift=rng.normal(0, 0.012),
    )


def draw_field(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one field.

    Returns:
        The image, uint8 (H, W, 3) RGB, and its label, uint8 (H, W) of SOIL, CROP and WEED. A pixel
        at least half covered by plants gets the class that covers more of it.
    """
    # Each part has its own generator: how many numbers the soil draws depends on the size.
    for_scene, for_soil, for_plants, for_camera = rng.spawn(4)
    scene = draw_scene(for_scene)
    soil = draw_soil(for_soil, height, width, scene.light, scene.row_angle)
    large = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    canvas = cv2.resize(np.pad(soil, ((0, 0), (0, 0), (0, 1)), constant_values=SOIL), large)
    for plant in place_plants(for_plants, canvas.shape[0], canvas.shape[1], scene):
        draw_plant(canvas, for_plants, plant, scene.light)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)[..., :3]
    return photograph(for_camera, image), shrink_label(canvas[..., 3], height, width)


def shrink_label(ids: np.ndarray, height: int, width: int) -> np.ndarray:
    """Downscale ids (H, W): pixels at least half covered get the plant class covering more."""
    cover = {}
    for value in (CROP, WEED):
        plane = np.ascontiguousarray(ids)
        mask = cv2.compare(plane, value, cv2.CMP_EQ)  # type: ignore[call-overload]  # the stubs know no scalar
        cover[value] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    label = np.where(cover[CROP] > cover[WEED], np.uint8(CROP), np.uint8(WEED))
    label[cv2.add(cover[CROP], cover[WEED]) < 127] = SOIL
    return label


def place_plants(rng: np.random.Generator, height: int, width: int, scene: Scene) -> list[Plant]:
    """Place all plants of a scene on a canvas of this size, lowest first."""
    crop = _place_crop(rng, height, width, scene)
    weeds = _place_weeds(rng, height, width, scene, [plant.centre for plant in crop])
    plants = [plant for plant in crop + weeds if _in_view(plant, height, width)]
    return sorted(plants, key=lambda plant: plant.radius * rng.uniform(0.5, 1.5))


def _place_crop(rng: np.random.Generator, height: int, width: int, scene: Scene) -> list[Plant]:
    """Rows across the whole image, with gaps and with plants a little off the line."""
    unit = min(height, width)
    radius = scene.crop_radius * unit
    along = np.array([np.cos(scene.row_angle), np.sin(scene.row_angle)])
    across = np.array([-along[1], along[0]])
    first = rng.uniform(-0.5, 0.5) * scene.row_distance * unit
    middle = np.array([width, height]) / 2 + across * first
    reach = np.hypot(height, width) / 2 + radius
    step, distance = scene.plant_distance * unit, scene.row_distance * unit
    rows = np.arange(-np.ceil(reach / distance), np.ceil(reach / distance) + 1) * distance
    missing = rng.uniform(0, 0.25)
    plants = []
    for row in rows:
        for position in np.arange(-reach, reach, step) + rng.uniform(0, step):
            x, y = rng.normal((position, row), (0.14 * step, 0.025 * unit))
            size = radius * np.clip(rng.normal(1, 0.16), 0.55, 1.4)
            if rng.uniform() >= missing:
                centre = middle + along * x + across * y
                plants.append(_plant(rng, scene, BEET, CROP, centre, size, scene.stage))
    return plants


def _place_weeds(
    rng: np.random.Generator, height: int, width: int, scene: Scene, crop: list
) -> list[Plant]:
    """Weeds in a patch, beside crop plants or anywhere; each field has its own species mix."""
    unit = min(height, width)
    grass_share = rng.beta(1.2, 1.6)
    patch = rng.uniform((0, 0), (width, height))
    plants = []
    for _ in range(round(scene.weeds * height * width / unit**2)):
        place = rng.uniform()
        if place < scene.weed_patches:
            centre = rng.normal(patch, 0.13 * unit)
        elif crop and place > 0.85:
            centre = rng.normal(crop[rng.integers(len(crop))], 1.1 * scene.crop_radius * unit)
        else:
            centre = rng.uniform((0, 0), (width, height))
        stage = np.clip(scene.stage + rng.normal(-0.1, 0.28), 0, 1)
        kinds: tuple[Species, ...]
        if rng.uniform() < grass_share:
            kinds, radius = GRASSES, rng.uniform(0.05, 0.12) + 0.08 * stage
        else:
            kinds, radius = DICOTS, rng.uniform(0.03, 0.075) + 0.10 * stage
        species = kinds[rng.integers(len(kinds))]
        plants.append(_plant(rng, scene, species, WEED, centre, radius * unit, stage))
    return plants


def _plant(
    rng: np.random.Generator,
    scene: Scene,
    species: Species,
    class_id: int,
    centre: np.ndarray,
    radius: float,
    stage: float,
) -> Plant:
    hue_shift = scene.hue_shift + rng.normal(0, 0.006)
    return Plant(species, class_id, tuple(centre.tolist()), float(radius), float(stage), hue_shift)


def _in_view(plant: Plant, height: int, width: int) -> bool:
    x, y = plant.centre
    return -plant.radius < x < width + plant.radius and -plant.radius < y < height + plant.radius


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Apply light and camera effects to a scene, uint8 (H, W, 3)."""
    height, width = image.shape[:2]
    unit = min(height, width)
    texture = smooth_noise(rng, height, width, max(1.2, unit / 170))
    light = _illumination(rng, height, width)
    light *= 1 + texture * np.float32(rng.uniform(0.015, 0.05))
    warmth, saturation = rng.normal(0, 0.07), rng.uniform(0.65, 1.1)
    gains = np.array([1 + warmth, 1 + rng.normal(0, 0.025), 1 - warmth])
    gains *= np.exp(rng.normal(0, 0.22))  # exposure
    mix = (np.eye(3) * saturation + (1 - saturation) / 3) * gains[:, None]
    photo: np.ndarray = cv2.transform(image.astype(np.float32), mix)
    photo *= light[..., None]
    blur = rng.uniform(0, 1.1) * unit / 256
    if blur > 0.3:
        photo = cv2.GaussianBlur(photo, (0, 0), blur)
    noise = rng.standard_normal(photo.shape, dtype=np.float32)
    return cv2.addWeighted(photo, 1.0, noise, rng.uniform(1, 7), 0.0, dtype=cv2.CV_8U)


def _illumination(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A gradient, vignetting and sometimes the edge of a machine's shadow, float32 (H, W)."""
    x, y = coordinates(height, width)

    def ramp() -> np.ndarray:
        turn = rng.uniform(0, 2 * np.pi)
        return x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))

    light = 1 + np.float32(rng.uniform(0, 0.35)) * ramp()
    light -= np.float32(rng.uniform(0, 0.5)) * (x * x + y * y)
    if rng.uniform() < 0.25:
        inside = (ramp() - np.float32(rng.uniform(-0.3, 0.3))) * np.float32(rng.uniform(15, 80))
        light *= 1 - np.float32(rng.uniform(0.25, 0.55)) * np.clip(inside + 0.5, 0, 1)
    return np.maximum(light, 0.1)
