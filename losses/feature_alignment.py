"""SEKD feature alignment ("FA"): match features at a quarter of their resolution."""

import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import summed
from losses.void import labelled, masked_mean


class FeatureAlignmentLoss(nn.Module):
    """Mean over stages of the MSE between maps shrunk bilinearly (Li et al. 2025).

    Args:
        scale: factor on height and width; a map is never shrunk below one pixel.
    """

    def __init__(self, scale: float = 0.25) -> None:
        super().__init__()
        self.scale = scale

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Maps (B, C, h, w), one per stage, of equal shapes -> scalar."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        stages = [self._stage(s.float() - t.float(), labels) for s, t in pairs]
        return summed(stages) / len(stages)

    def _stage(self, difference: Tensor, labels: Tensor | None) -> Tensor:
        """Shrinking is linear, so it is applied once, to the difference."""
        mask = labelled(labels, difference.shape[-2:])
        if mask is None:
            return self._shrink(difference).square().mean()
        share = self._shrink(mask)  # labelled share of each shrunk cell
        mean = self._shrink(difference * mask) / share.clamp_min(1e-6)
        return masked_mean(mean.square(), (share > 0).float())

    def _shrink(self, maps: Tensor) -> Tensor:
        size = [int(side * self.scale) for side in maps.shape[-2:]]
        if min(size) > 0:
            return F.interpolate(maps, scale_factor=self.scale, mode="bilinear")
        return F.interpolate(maps, [max(1, side) for side in size], mode="bilinear")
