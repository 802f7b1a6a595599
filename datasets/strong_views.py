"""Views of an image that are hard to read: other colours, blur and noise, the same geometry.

A student that has to give the teacher's answer for them learns what does not depend on light and
camera: weak views for who answers, strong ones for who learns (Sohn et al., "FixMatch", NeurIPS
2020; for segmentation Yang et al., "Revisiting Weak-to-Strong Consistency", CVPR 2023).
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from datasets.colours import GREY, twist

CHANGED, GREYED, BLURRED, NOISY = 0.8, 0.2, 0.5, 0.5  # probabilities per image
# Hue turns less than in the papers, by at most a tenth of the circle: green sets plants apart.
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.3, 0.5, 0.7, 0.1
SIGMAS = (0.3, 2.0)  # of the blur, in px
MOST_NOISE = 20.0  # standard deviation, in grey levels of 0 to 255


class StrongViews:
    """Makes strong views; all draws are from torch's global generators."""

    def __call__(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Change those of images (B, 3, H, W) uint8 that `chosen`, bool (B,), names.

        Returns:
            As many images of the same type and size; what was given is left as it is.
        """
        views = images.clone()
        for index in chosen.nonzero()[:, 0].tolist():
            views[index] = strong_view(images[index])
        return views


def strong_view(image: Tensor) -> Tensor:
    """Change the colours of an image (3, H, W) uint8, blur it and add noise, each by chance."""
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
