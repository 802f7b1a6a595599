"""The walk shared by the fusions of review distillation and TransKD: from the coarsest stage up."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

FUSED_WIDTH = 64


def conv_bn(width_in: int, width_out: int, kernel_size: int) -> nn.Sequential:
    """Convolution without bias, followed by BatchNorm; keeps (h, w)."""
    conv = nn.Conv2d(width_in, width_out, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(width_out))


class TopDownFusion(nn.Module):
    """Fuse each stage with the fused next coarser one and widen it to the teacher's channels.

    Args:
        student_widths: channels C_s per stage, finest first.
        teacher_widths: channels C_t per stage, finest first.
        mixer: makes the module that mixes (x, y) -> map, all (B, 64, h, w). The coarsest stage has
            nothing to be mixed with and gets none.
    """

    def __init__(
        self,
        student_widths: Sequence[int],
        teacher_widths: Sequence[int],
        mixer: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(conv_bn(width, FUSED_WIDTH, 1) for width in student_widths)
        self.mix = nn.ModuleList(mixer(FUSED_WIDTH) for _ in student_widths[:-1])
        self.expand = nn.ModuleList(conv_bn(FUSED_WIDTH, width, 3) for width in teacher_widths)

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
