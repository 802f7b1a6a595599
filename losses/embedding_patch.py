"""Losses on patch embeddings: the texture term of SEKD, and the weighted MSE of TransKD."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EmbeddingMSELoss(nn.Module):
    """sum_i w_i MSE(E_s_i, E_t_i) (Liu et al., TransKD, arXiv 2202.13393).

    Args:
        weights: one per stage that the maps come from.
    """

    def __init__(self, weights: Sequence[float] = (0.1, 0.1, 0.5, 1.0)) -> None:
        super().__init__()
        self.weights = tuple(weights)

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Maps (B, C, h, w), one per weight, of equal shapes -> scalar."""
        stages = zip(self.weights, student_maps, teacher_maps, strict=True)
        return sum(weight * F.mse_loss(s.float(), t.float()) for weight, s, t in stages)


class TexturePatchLoss(nn.Module):
    """Mean over stages of a structural and a statistical difference (Li et al. 2025).

    Structural: the sum of MSEs over a two-level Laplacian pyramid. Statistical: the MSE of
    overlapping 4 x 4 patches, each normalised by its own mean and standard deviation.
    """

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Maps (B, C, h, w), one per stage, of equal shapes -> scalar."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        stages = [
            structural_difference(s.float(), t.float())
            + statistical_difference(s.float(), t.float())
            for s, t in pairs
        ]
        return sum(stages) / len(stages)


def structural_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum of MSEs over the two-level Laplacian pyramid of two maps (B, C, h, w)."""
    maps = student - teacher  # the pyramid is linear: once on the difference is enough
    total = maps.new_zeros(())
    for _ in range(2):
        smooth = gaussian_blur(maps)
        total = total + (maps - smooth).square().mean()
        maps = F.avg_pool2d(smooth, [min(2, side) for side in smooth.shape[-2:]])
    return total + maps.square().mean()


def gaussian_blur(maps: Tensor) -> Tensor:
    """5 x 5 Gaussian of sigma 1 with zero padding, per channel, as two 1-D passes."""
    offsets = torch.arange(-2.0, 3.0, device=maps.device)
    kernel = torch.softmax(-offsets.square() / 2, 0)
    channels = maps.shape[1]
    rows = kernel.view(1, 1, 5, 1).expand(channels, 1, 5, 1)
    maps = F.conv2d(maps, rows, padding=(2, 0), groups=channels)
    return F.conv2d(maps, rows.mT, padding=(0, 2), groups=channels)


def statistical_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """MSE of the normalised 4 x 4 patches (stride 2, zero padding 2) of two maps (B, C, h, w)."""

    def box(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, 4, 2, 2)

    mean_s, mean_t = box(student), box(teacher)
    scale = 16 / 15
    var_s = scale * (box(student.square()) - mean_s.square())
    var_t = scale * (box(teacher.square()) - mean_t.square())
    covariance = scale * (box(student * teacher) - mean_s * mean_t)
    d_s = var_s.clamp(min=1e-12).sqrt() + 1e-6
    d_t = var_t.clamp(min=1e-12).sqrt() + 1e-6
    difference = var_s / d_s**2 + var_t / d_t**2 - 2 * covariance / (d_s * d_t)
    return 15 / 16 * difference.mean()
