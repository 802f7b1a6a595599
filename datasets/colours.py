"""Random colour changes, as one affine map of the colours."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

GREY = np.array((0.299, 0.587, 0.114))  # weights of red, green and blue in luminance
_TO_YIQ = np.array((GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)))
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

# Loader workers are processes: OpenCV's own threads would fight each other for the same cores.
cv2.setNumThreads(0)


class ColourTwist:
    """Change brightness, contrast, saturation and hue, each half of the time.

    All four are affine in RGB, hue being a rotation of the chrominance (I, Q) in YIQ, so that they
    make one 3 x 4 matrix and one pass over uint8 pixels: 2 ms at 512 x 512 on one core, where the
    hue of torchvision's ColorJitter alone takes 25 ms. Channels are not swapped, as
    RandomPhotometricDistort does: green distinguishes plants from soil.

    Args:
        brightness: factor within 1 - brightness to 1 + brightness.
        contrast: likewise, about the image's mean luminance.
        saturation: likewise, about each pixel's luminance.
        hue: turn by up to this share of the full circle, to either side.
    """

    def __init__(
        self,
        brightness: float = 0.125,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.05,
    ) -> None:
        self.limits = (brightness, contrast, saturation, hue)

    def __call__(self, image: Tensor) -> Tensor:
        """Map uint8 (3, H, W) RGB to the same; draws from torch's global generator."""
        draws = torch.rand(4, 2).tolist()
        amounts = [
            limit * (2 * draw - 1) if coin < 0.5 else 0.0
            for limit, (coin, draw) in zip(self.limits, draws, strict=True)
        ]
        if not any(amounts):
            return image
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        brightness, contrast, saturation, hue = amounts
        mean = float(GREY @ cv2.mean(pixels)[:3])
        matrix = twist(brightness, contrast, saturation, hue, mean)
        return torch.from_numpy(cv2.transform(pixels, matrix)).permute(2, 0, 1)


def twist(
    brightness: float, contrast: float, saturation: float, hue: float, mean: float
) -> np.ndarray:
    """Make the 3 x 4 matrix of these changes, 0 each being none, for an image of mean luminance."""
    angle = 2 * math.pi * hue
    rotation = np.eye(3)
    rotation[1:, 1:] = (
        (math.cos(angle), -math.sin(angle)),
        (math.sin(angle), math.cos(angle)),
    )
    saturate = (1 + saturation) * np.eye(3) - saturation * np.tile(GREY, (3, 1))
    colour = _FROM_YIQ @ rotation @ _TO_YIQ @ saturate
    # Neither saturation nor hue changes the luminance, so its mean is still that of the image.
    offset = np.full((3, 1), -contrast * mean)
    return (1 + brightness) * np.hstack(((1 + contrast) * colour, offset))
