"""Attention-based fusion (ABF) of review distillation.

Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021 (arXiv 2104.09044), section 3.3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from losses.declaration import MethodOptions
from losses.top_down_fusion import TopDownFusion


class AttentionMix(nn.Module):
    """Weigh two maps per pixel by two sigmoid attention maps.

    Args:
        width: channels C of both maps.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend = nn.Conv2d(2 * width, 2, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mix x and y, both (B, C, h, w)."""
        attention = self.attend(torch.cat([x, y], dim=1)).sigmoid()
        return x * attention[:, :1] + y * attention[:, 1:]


class ReviewFusion(TopDownFusion):
    """Top-down fusion with `AttentionMix`.

    Args:
        student_widths: channels C_s per stage, finest first.
        teacher_widths: channels C_t per stage, finest first.
    """

    def __init__(self, student_widths: Sequence[int], teacher_widths: Sequence[int]) -> None:
        super().__init__(student_widths, teacher_widths, AttentionMix)


def build_review_fusion(student: Any, teacher: Any, options: MethodOptions) -> ReviewFusion:
    """The fusion of all four feature stages."""
    return ReviewFusion(student.widths, teacher.widths)
