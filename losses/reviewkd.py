"""Review distillation (`reviewkd`): attention-based fusion (ABF), hierarchical context loss (HCL).

Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021 (arXiv 2104.09044): the fusion
is section 3.3, the loss section 3.4. TransKD uses the loss unchanged, and the same top-down fusion.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import MethodOptions, summed
from losses.void import labelled, masked_mean, masked_mse

FUSED_WIDTH = 64


def conv_bn(width_in: int, width_out: int, kernel_size: int) -> nn.Sequential:
    """Convolution without bias, followed by BatchNorm; keeps (h, w)."""
    conv = nn.Conv2d(width_in, width_out, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(width_out))


class TopDownFusion(nn.Module):
    """Fuse each stage with the fused next coarser one and expand it to the teacher's channels.

    Args:
        student_widths: channels C_s per stage, finest first.
        teacher_widths: channels C_t per stage, finest first.
        width: channels in which stages are fused.
        mixer: builds the module that mixes (x, y) -> map, all (B, width, h, w). The coarsest
            stage has nothing to mix with and gets none.
    """

    def __init__(
        self,
        student_widths: Sequence[int],
        teacher_widths: Sequence[int],
        mixer: Callable[[int], nn.Module],
        width: int = FUSED_WIDTH,
    ) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(conv_bn(each, width, 1) for each in student_widths)
        self.mix = nn.ModuleList(mixer(width) for _ in student_widths[:-1])
        self.expand = nn.ModuleList(conv_bn(width, each, 3) for each in teacher_widths)

    def forward(self, student_out: Any) -> list[Tensor]:
        """`student_out.features` (B, C_s, h, w) per stage -> (B, C_t, h, w) per stage."""
        features = student_out.features
        coarsest = len(features) - 1
        fused = self.reduce[coarsest](features[coarsest])
        outputs = [self.expand[coarsest](fused)]
        for stage in reversed(range(coarsest)):
            reduced = self.reduce[stage](features[stage])
            upsampled = F.interpolate(fused, reduced.shape[-2:], mode="nearest")
            fused = self.mix[stage](reduced, upsampled)
            outputs.insert(0, self.expand[stage](fused))
        return outputs


class AttentionMix(nn.Module):
    """Mix two maps with per-pixel weights from two sigmoid attention maps.

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
        width: channels in which stages are fused.
    """

    def __init__(
        self,
        student_widths: Sequence[int],
        teacher_widths: Sequence[int],
        width: int = FUSED_WIDTH,
    ) -> None:
        super().__init__(student_widths, teacher_widths, AttentionMix, width)


def build_review_fusion(student: Any, teacher: Any, options: MethodOptions) -> ReviewFusion:
    """The fusion of all four feature stages."""
    return ReviewFusion(student.widths, teacher.widths, options.review_width)


POOL_SIZES = (4, 2, 1)


def _stage_loss(student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
    """HCL of one stage, both (B, C, h, w)."""
    mask = labelled(labels, student.shape[-2:])
    loss = masked_mse(student, teacher, labels)
    weight, total = 1.0, 1.0
    for size in POOL_SIZES:
        if size >= student.shape[-2]:  # no pooling: it would count the full map twice
            continue
        weight /= 2
        total += weight
        loss = loss + weight * _pooled_mse(student, teacher, mask, size)
    return loss / total


def _pooled_mse(student: Tensor, teacher: Tensor, mask: Tensor | None, size: int) -> Tensor:
    """MSE of the means over size x size regions, each over its labelled cells."""
    if mask is None:
        return F.mse_loss(
            F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)
        )
    share = F.adaptive_avg_pool2d(mask, size)
    difference = F.adaptive_avg_pool2d((student - teacher) * mask, size) / share.clamp_min(1e-6)
    return masked_mean(difference.square(), (share > 0).float())


class HierarchicalContextLoss(nn.Module):
    """Sum over stages of the MSE of the maps and of their average pools to 4, 2 and 1.

    The pools have weights 1/2, 1/4, 1/8 and the sum is divided by the total weight (1.875). A pool
    size not below the map's height is skipped, and the rest take the weights in order.
    """

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_t, h, w), finest stage first; returns a scalar >= 0."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        return summed(_stage_loss(s.float(), t.float(), labels) for s, t in pairs)
