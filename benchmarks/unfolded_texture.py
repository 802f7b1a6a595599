"""The texture term as its definition reads: a reference to check and to time the fast one against.

It unfolds every patch, and builds both pyramids. Works in float32 and float64.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def texture(student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
    """Maps (B, C, h, w), one per stage -> scalar."""
    pairs = list(zip(student_maps, teacher_maps, strict=True))
    return torch.stack([structural(s, t) + statistical(s, t) for s, t in pairs]).mean()


def structural(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum of MSE over the levels of both pyramids."""
    levels = zip(pyramid(student), pyramid(teacher), strict=True)
    return torch.stack([F.mse_loss(s, t) for s, t in levels]).sum()


def pyramid(maps: Tensor) -> list[Tensor]:
    """Two Laplacian levels and the residual of maps (B, C, h, w)."""
    channels = maps.shape[1]
    offsets = torch.arange(-2, 3, dtype=maps.dtype)
    gaussian = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / 2)
    gaussian = (gaussian / gaussian.sum()).expand(channels, 1, 5, 5)
    levels = []
    for _ in range(2):
        smooth = F.conv2d(maps, gaussian, padding=2, groups=channels)
        levels.append(maps - smooth)
        maps = F.avg_pool2d(smooth, [min(2, side) for side in smooth.shape[-2:]])
    return [*levels, maps]


def statistical(student: Tensor, teacher: Tensor) -> Tensor:
    """MSE of locally normalised patches."""
    return F.mse_loss(normalised_patches(student), normalised_patches(teacher))


def normalised_patches(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 16, patches)."""
    patches = F.unfold(maps, 4, stride=2, padding=2).unflatten(1, (maps.shape[1], 16))
    return (patches - patches.mean(2, keepdim=True)) / (
        patches.std(2, keepdim=True).clamp_min(1e-2) + 1e-6
    )
