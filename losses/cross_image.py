"""Cross-image pixel relations within the mini-batch (`cirkd`).

Yang et al., "Cross-Image Relational Knowledge Distillation for Semantic Segmentation", CVPR 2022
(arXiv 2204.06986), section 3.3 (mini-batch based pixel-to-pixel distillation), beside the pixel KL.

The paper's second half, a memory bank of pixel and region embeddings of earlier images, is left
out: the queue would be a state of thousands of embeddings per class that grows with the class
list, needs the labels, and has to be saved and shared between processes for an exact resumption.
So what is measured under this name is CIRKD without its memory-based terms.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.adapters import StagewiseAdapter
from losses.declaration import MethodOptions

COMPARED_STAGE = 3


class CrossImageLoss(nn.Module):
    """KL between teacher's and student's similarities of the pixels of each pair of images.

    For images i and j of the batch, S_ij = F_i F_j^T / tau over L2-normalised pixel embeddings;
    each row of S_ij is a distribution over the pixels of image j. The divergence is averaged over
    the rows and over all ordered pairs, i = j included. A batch of one image therefore compares the
    relations within that image. Only similarities are compared, so widths may differ.

    Args:
        temperature: tau.
        max_size: maps are average-pooled to at most this height and width. Memory is
            (B * max_size^2)^2.
    """

    def __init__(self, temperature: float = 0.1, max_size: int = 16) -> None:
        super().__init__()
        self.temperature = temperature
        self.max_size = max_size

    def _log_similarities(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, N, B, N), a log-distribution over the last axis."""
        size = [min(self.max_size, length) for length in features.shape[-2:]]
        pixels = F.adaptive_avg_pool2d(features.float(), size).flatten(2)
        pixels = F.normalize(pixels, dim=1)
        similarities = torch.einsum("icn,jcm->injm", pixels, pixels) / self.temperature
        return F.log_softmax(similarities, dim=-1)

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare maps (B, C_s, h, w) with (B, C_t, h, w); returns a scalar >= 0."""
        total = 0.0
        # Half precision would leave no more than two digits after the division by tau.
        with torch.autocast(student_maps[0].device.type, enabled=False):
            for student, teacher in zip(student_maps, teacher_maps, strict=True):
                student = self._log_similarities(student)
                teacher = self._log_similarities(teacher)
                divergence = F.kl_div(student, teacher, reduction="none", log_target=True)
                total = total + divergence.sum(dim=-1).mean()
        return total


def pick_last_stage(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """The last feature stage as it is: similarities need no common width."""
    return StagewiseAdapter("features", {COMPARED_STAGE: nn.Identity()})
