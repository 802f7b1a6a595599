"""Effects of light and camera on a scene: shade, spectral bands, lens, sensor, file format."""

from collections.abc import Collection

import cv2
import numpy as np

from datasets.soil import coordinates, smooth_noise


def photograph(
    rng: np.random.Generator, image: np.ndarray, cover: np.ndarray, without: Collection[str] = ()
) -> np.ndarray:
    """Photograph a scene, float32 (H, W, 3) to uint8; `cover` (H, W), 0 to 1, is plant cover.

    `without` lists kinds of variation to leave out, see `datasets.drawing.world.KINDS`.
    """
    photo = _lit_by_leaves(rng, image, cover)
    photo = photo * _illumination(rng, *image.shape[:2])[..., None]
    if rng.uniform() < 0.18 and "infrared" not in without:
        photo = _near_infrared(rng, photo, cover)
        hue_noise = 0.3
    else:
        hue_noise = 1.0
    if rng.uniform() < 0.6 and "shadows" not in without:
        photo = _tinted_shadows(rng, photo)
    photo = _developed(rng, photo, hue_noise)
    if "camera" in without:
        return np.clip(photo, 0, 255).astype(np.uint8)
    if rng.uniform() < 0.45:
        photo = _misregistered(rng, photo)
    photo = _lens(rng, photo)
    photo = _sensor(rng, photo)
    return _stored(rng, np.clip(photo, 0, 255).astype(np.uint8))


def _lit_by_leaves(rng: np.random.Generator, image: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Tint the surroundings of leaves with the light that the leaves reflect."""
    strength = np.float32(rng.choice([0.0, rng.uniform(0, 0.35)]))
    reach = (2 * int(min(cover.shape) * rng.uniform(0.01, 0.05)) + 1,) * 2
    glow = cv2.blur(cv2.blur(image * cover[..., None], reach), reach)
    return image + strength * glow * (1 - cover)[..., None]


def _illumination(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A gradient, vignetting, clouds and the edges of a machine's shadow, float32 (H, W)."""
    x, y = coordinates(height, width)

    def ramp() -> np.ndarray:
        turn = rng.uniform(0, 2 * np.pi)
        return x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))

    light = 1 + np.float32(rng.uniform(0, 0.35)) * ramp()
    light -= np.float32(rng.choice([0.0, rng.uniform(0, 0.5)])) * (x * x + y * y)
    light += np.float32(rng.uniform(0, 0.08)) * smooth_noise(
        rng, height, width, min(height, width) / 3
    )
    if rng.uniform() < 0.25:
        edge = ramp() - np.float32(rng.uniform(-0.4, 0.4))
        if rng.uniform() < 0.3:  # the shadow of a person or a pole has two edges
            edge = np.float32(rng.uniform(0.05, 0.4)) - np.abs(edge)
        inside = np.clip(edge * np.float32(np.exp(rng.uniform(2, 5))) + 0.5, 0, 1)
        light *= 1 - np.float32(rng.uniform(0.25, 0.7)) * inside
    return np.maximum(light, 0.12)


def _tinted_shadows(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Tint the shadows: by the sky, or by leaves that transmit or reflect light."""
    grey = photo.mean(2)
    darkness = np.clip(1 - grey / np.float32(1.1 * grey.mean()), 0, 1)
    tint = rng.normal(0, 0.3, 3)
    tint[1] += 0.2  # more often green than not
    bands = cv2.split(photo)
    shaded = [band * cv2.exp(darkness * np.float32(t)) for band, t in zip(bands, tint, strict=True)]
    return cv2.merge(shaded)


def _near_infrared(rng: np.random.Generator, photo: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Replace bands: plants reflect near infrared strongly and red weakly, soil both equally."""
    grey = photo.mean(2)
    red = photo[..., 0] * (1 - cover * np.float32(rng.uniform(0.15, 0.6)))
    gain = (
        np.float32(rng.uniform(0.85, 1.15)) * (1 - cover)
        + np.float32(rng.uniform(1.3, 2.5)) * cover
    )
    infrared = grey * gain
    green, blue = photo[..., 1], photo[..., 2]
    bands = [
        (red, infrared, red),
        (infrared, red, green),
        (infrared, infrared, infrared),
        (red, infrared, blue),
        (infrared, infrared, red),
    ]
    chosen = bands[rng.choice(len(bands), p=[0.55, 0.2, 0.05, 0.1, 0.1])]
    return cv2.merge([np.ascontiguousarray(band) for band in chosen])


def _developed(rng: np.random.Generator, photo: np.ndarray, hue_noise: float) -> np.ndarray:
    """White balance, exposure, saturation, contrast and haze."""
    warmth = rng.normal(0, 0.09) * hue_noise
    gains = np.array([1 + warmth, 1 + rng.normal(0, 0.035) * hue_noise, 1 - warmth])
    saturation = rng.uniform(0.6, 1.4)
    mix = (np.eye(3) * saturation + (1 - saturation) / 3) * gains[:, None]
    photo = np.clip(cv2.transform(photo, mix), 0, None)
    # Auto exposure: the exposure depends on the mean brightness.
    photo *= np.float32(np.exp(rng.normal(np.log(0.40), 0.28)) / photo.mean())
    if rng.uniform() < 0.7:
        photo = cv2.pow(photo, float(np.exp(rng.normal(0, 0.25))))
    contrast = rng.uniform(0.75, 1.35)
    # The black level may differ per channel: shadows on soil may look green.
    dark = rng.normal(0, 6) + rng.normal(0, 5, 3) * rng.choice([0.0, 1.0], p=[0.4, 0.6])
    return photo * np.float32(255 * contrast) + np.float32((1 - contrast) * 100 + dark)


def _misregistered(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Shift the bands against each other, which gives every clod coloured fringes."""
    height, width = photo.shape[:2]
    bands = list(cv2.split(photo))
    spread = rng.uniform(0.2, 1.3)
    for band in (0, 2):
        move = np.array([[1, 0, rng.normal(0, spread)], [0, 1, rng.normal(0, spread)]], np.float32)
        bands[band] = cv2.warpAffine(
            bands[band], move, (width, height), borderMode=cv2.BORDER_REFLECT
        )
    return cv2.merge(bands)


def _lens(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Apply defocus or motion blur, upscaling from fewer pixels, sharpening, or nothing."""
    kind = rng.choice(
        ["none", "focus", "motion", "enlarged", "sharpened"], p=[0.35, 0.25, 0.08, 0.14, 0.18]
    )
    height, width = photo.shape[:2]
    if kind == "focus":
        return cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.4, 1.6))
    if kind == "motion":
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        end = np.array([np.cos(turn := rng.uniform(0, np.pi)), np.sin(turn)]) * length / 2
        middle = (length - 1) / 2
        start, stop = ((middle + way * end).astype(int).tolist() for way in (-1, 1))
        cv2.line(kernel, start, stop, 1.0)
        return cv2.filter2D(photo, -1, kernel / kernel.sum())
    if kind == "enlarged":
        scale = rng.uniform(0.4, 0.9)
        small = cv2.resize(
            photo, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
        )
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if kind == "sharpened":
        return cv2.addWeighted(photo, 1 + (amount := rng.uniform(0.3, 1.5)),
                               cv2.GaussianBlur(photo, (0, 0), 1.0), -amount, 0)  # fmt: skip
    return photo


def _sensor(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Add per-pixel noise, or blotches like those left by a phone's denoising."""
    noise: np.ndarray = rng.standard_normal(photo.shape, dtype=np.float32)
    if rng.uniform() < 0.3:
        noise = cv2.blur(noise, (3, 3)) * 2
    return photo + noise * np.float32(np.exp(rng.uniform(np.log(0.7), np.log(12))))


def _stored(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    if rng.uniform() < 0.4:
        return photo
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 97))]
    decoded = cv2.imdecode(cv2.imencode(".jpg", photo, quality)[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded
