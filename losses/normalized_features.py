"""Plain feature distillation (`feature`): the baseline that other feature methods must beat.

Features are compared after a linear projection, as in FitNets (Romero et al., ICLR 2015), and
normalised per channel, so that neither network's scale matters (cf. arXiv 2604.25530).
"""

import torch
from torch import Tensor, nn

from losses.declaration import summed
from losses.void import labelled, masked_mse

EPSILON = 1e-3  # keeps constant channels, with their rounding noise, near 0


class NormalizedFeatureLoss(nn.Module):
    """Mean over maps of the MSE between channels that are standardised per image."""

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_t, h, w); returns a scalar >= 0."""
        terms = []
        with torch.autocast(student_maps[0].device.type, enabled=False):
            for student, teacher in zip(student_maps, teacher_maps, strict=True):
                mask = labelled(labels, student.shape[-2:])
                student, teacher = (normalize(maps.float(), mask) for maps in (student, teacher))
                terms.append(masked_mse(student, teacher, labels))
        return summed(terms) / len(terms)


def normalize(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """Standardise each channel per image to mean 0 and deviation 1 over labelled cells.

    Args:
        maps: (B, C, h, w).
        mask: (B, 1, h, w) of 0 and 1; None counts all cells.
    """
    mask = torch.ones_like(maps[:, :1]) if mask is None else mask
    cells = mask.sum((2, 3), keepdim=True).clamp_min(1)
    deviation = maps - (maps * mask).sum((2, 3), keepdim=True) / cells
    variance = (deviation.square() * mask).sum((2, 3), keepdim=True) / cells
    return deviation / (variance + EPSILON**2).sqrt()
