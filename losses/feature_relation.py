"""SEKD feature relation ("CT"): match features and the relations between their channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import summed
from losses.void import labelled, masked_mse, mean_over_images


class FeatureRelationLoss(nn.Module):
    """Mean over stages of MSE(F_s, F_t) + MSE(R_s, R_t) (Li et al. 2025).

    R is the C x C Gram matrix of the channels over all pixels, L2-normalised along its first
    channel axis.
    """

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Maps (B, C, h, w), one per stage, of equal shapes -> scalar."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        stages = [masked_mse(s, t, labels) + self._relation(s, t, labels) for s, t in pairs]
        return summed(stages) / len(stages)

    def _relation(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        mask = labelled(labels, student.shape[-2:])
        difference = channel_relation(student, mask) - channel_relation(teacher, mask)
        return mean_over_images(difference.square(), mask)  # an image of void has no relations


def channel_relation(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, C, h, w) -> normalised Gram matrix (B, C, C) over labelled cells, in float32.

    Sums over tens of thousands of pixels overflow in half precision, so autocast is disabled.
    """
    with torch.autocast(maps.device.type, enabled=False):
        channels = (maps.float() if mask is None else maps.float() * mask).flatten(2)
        return F.normalize(channels @ channels.mT, dim=1)
