"""SEKD feature relation ("CT"): features agree, and so do the relations between channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeatureRelationLoss(nn.Module):
    """Mean over stages of MSE(F_s, F_t) + MSE(R_s, R_t) (Li et al. 2025).

    R is the C x C Gram matrix of the channels over all pixels, L2-normalised along its first
    channel axis.
    """

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Maps (B, C, h, w), one per stage, of equal shapes -> scalar."""
        stages = [
            F.mse_loss(s.float(), t.float()) + F.mse_loss(channel_relation(s), channel_relation(t))
            for s, t in zip(student_maps, teacher_maps, strict=True)
        ]
        return sum(stages) / len(stages)


def channel_relation(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> normalised Gram matrix (B, C, C), in float32.

    Sums over tens of thousands of pixels overflow in half precision, so autocast is left.
    """
    with torch.autocast(maps.device.type, enabled=False):
        channels = maps.float().flatten(2)
        return F.normalize(channels @ channels.mT, dim=1)
