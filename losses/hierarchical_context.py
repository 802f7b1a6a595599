"""Hierarchical context loss (HCL) over fused features.

Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021 (arXiv 2104.09044), section 3.4;
TransKD (arXiv 2202.13393) uses it unchanged.
"""

from torch import Tensor, nn
from torch.nn import functional as F

POOL_SIZES = (4, 2, 1)


def _stage_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """HCL of one stage, both (B, C, h, w)."""
    loss = F.mse_loss(student, teacher)
    weight, total = 1.0, 1.0
    for size in POOL_SIZES:
        if size >= student.shape[-2]:  # nothing is pooled: it would count the full map again
            continue
        weight /= 2
        total += weight
        pooled = (F.adaptive_avg_pool2d(x, size) for x in (student, teacher))
        loss = loss + weight * F.mse_loss(*pooled)
    return loss / total


class HierarchicalContextLoss(nn.Module):
    """Sum over stages of the MSE of the maps and of their average pools to 4, 2 and 1.

    The pools weigh 1/2, 1/4, 1/8 and the sum is divided by the weights used (1.875). A pool of a
    size not below the map's height is skipped, and the weights go in order to those that remain.
    """

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare maps (B, C_t, h, w), finest stage first; returns a scalar >= 0."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        return sum(_stage_loss(student.float(), teacher.float()) for student, teacher in pairs)
