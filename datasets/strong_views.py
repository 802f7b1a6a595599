"""Strong augmentation of images: colour jitter, blur and noise, with unchanged geometry.

The teacher predicts on weak views and the student is trained to match it on strong ones, and so
becomes robust to light and camera (Sohn et al., "FixMatch", NeurIPS 2020; for segmentation Yang
et al., "Revisiting Weak-to-Strong Consistency", CVPR 2023).
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from datasets.colours import GREY, twist

CHANGED, GREYED, BLURRED, NOISY = 0.8, 0.2, 0.5, 0.5  # probabilities per image
# Hue changes less than in the papers, by at most a tenth of the circle: green identifies plants.
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.3, 0.5, 0.7, 0.1
SIGMAS = (0.3, 2.0)  # of the blur, in px
MOST_NOISE = 20.0  # largest standard deviation, in grey levels of 0 to 255


class StrongViews:
    """Makes strong views; randomness comes from torch's global generators."""

    def __call__(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Augment the images (B, 3, H, W) uint8 selected by `chosen`, bool (B,).

        Returns:
            All images, of the same dtype and shape; the input is not modified.
        """
        views = images.clone()
        for index in chosen.nonzero()[:, 0].tolist():
            views[index] = strong_view(images[index])
        return views


def strong_view(image: Tensor) -> Tensor:
    """Randomly change the colours of an image (3, H, W) uint8, blur it and add noise."""
    changed, greyed, blurred, noisy = torch.rand(4).tolist()
    matrix = _colours(image, changed < CHANGED, greyed < GREYED)
    view = torch.einsum("dc,chw->dhw", matrix[:, :3], image.float()) + matrix[:, 3, None, None]
    if blurred < BLURRED:
        sigma = SIGMAS[0] + (SIGMAS[1] - SIGMAS[0]) * float(torch.rand(()))
        view = F.gaussian_blur(view, 2 * int(3 * sigma) + 1, sigma)
    if noisy < NOISY:
        deviation = MOST_NOISE * float(torch.rand(()))
        view = view + deviation * torch.randn(view.shape, device=view.device)
    return view.round().clamp(0, 255).to(torch.uint8)


def _colours(image: Tensor, changed: bool, greyed: bool) -> Tensor:
    """The 3 x 4 matrix of colour changes, float32 on the image's device."""
    limits = np.array((BRIGHTNESS, CONTRAST, SATURATION, HUE)) * changed
    brightness, contrast, saturation, hue = (limits * (2 * torch.rand(4).numpy() - 1)).tolist()
    mean = float(GREY @ image.float().mean((1, 2)).cpu().numpy())
    matrix = twist(brightness, contrast, -1.0 if greyed else saturation, hue, mean)
    return torch.as_tensor(matrix, dtype=torch.float32, device=image.device)
