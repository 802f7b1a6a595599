"""Cross selective fusion (CSF) of TransKD.

Liu et al., "TransKD: Transformer Knowledge Distillation for Efficient Semantic Segmentation"
(arXiv 2202.13393), section III-C; the selection is that of SKNet (arXiv 1903.06586).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import MethodOptions
from losses.top_down_fusion import TopDownFusion

SQUEEZED_WIDTH = 32


class SelectiveMix(nn.Module):
    """Weigh two maps per channel by a softmax over the two, from their pooled sum.

    Args:
        width: channels C of both maps.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, SQUEEZED_WIDTH, 1, bias=False)
        self.norm = nn.BatchNorm2d(SQUEEZED_WIDTH)
        # Published files carry a second squeeze, without BatchNorm, for batches of one image. The
        # one below serves every batch size; this one is kept for them to load and to be counted,
        # and frozen so that distributed training does not wait for its gradient.
        self.squeeze_single = nn.Conv2d(width, SQUEEZED_WIDTH, 1, bias=False)
        self.squeeze_single.requires_grad_(False)
        self.select = nn.ModuleList(nn.Conv2d(SQUEEZED_WIDTH, width, 1) for _ in range(2))

    def _normalise(self, x: Tensor) -> Tensor:
        """BatchNorm of (B, 32, 1, 1), with the running statistics where B is 1."""
        if self.training and x.shape[0] > 1:
            return self.norm(x)
        norm = self.norm
        return F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mix x and y, both (B, C, h, w)."""
        pooled = F.adaptive_avg_pool2d(x + y, 1)
        squeezed = F.relu(self._normalise(self.squeeze(pooled)))
        scores = torch.stack([select(squeezed) for select in self.select])
        weight_x, weight_y = scores.softmax(dim=0)
        return weight_x * x + weight_y * y


class CrossSelectiveFusion(TopDownFusion):
    """Top-down fusion with `SelectiveMix`.

    Args:
        student_widths: channels C_s per stage, finest first.
        teacher_widths: channels C_t per stage, finest first.
    """

    def __init__(self, student_widths: Sequence[int], teacher_widths: Sequence[int]) -> None:
        super().__init__(student_widths, teacher_widths, SelectiveMix)


def build_selective_fusion(
    student: Any, teacher: Any, options: MethodOptions
) -> CrossSelectiveFusion:
    """The fusion of all four feature stages."""
    return CrossSelectiveFusion(student.widths, teacher.widths)
