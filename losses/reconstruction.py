"""SEKD reconstruction ("SU"): match features after zeroing a rectangle of the student's."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from losses.declaration import summed
from losses.void import masked_mse

Starts = tuple[Tensor, Tensor]


class ReconstructionLoss(nn.Module):
    """Mean over stages of MSE(M * F_s, F_t) (Li et al. 2025).

    M zeroes one rectangle of int(ratio h) x int(ratio w) pixels per sample, across all channels.
    The hole is not filled in: its pixels pass no gradient to the student, and on identical inputs
    the loss is the teacher's energy inside it, not 0.

    Args:
        ratio: side of the hole relative to the map's.
    """

    def __init__(self, ratio: float = 0.3) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(
        self,
        student_maps: list[Tensor],
        teacher_maps: list[Tensor],
        labels: Tensor | None = None,
        *,
        starts: Sequence[Starts] | None = None,
    ) -> Tensor:
        """Maps (B, C, h, w), one per stage, of equal shapes -> scalar.

        Args:
            student_maps: the student's adapted features.
            teacher_maps: the teacher's features.
            labels: class ids (B, H, W); void is left out.
            starts: per stage the first row and the first column of every sample's hole, two
                integer tensors (B,); by default drawn with torch's generator of the device.
        """
        if starts is None:
            starts = [self.draw(maps) for maps in student_maps]
        stages = [
            masked_mse(s.float().masked_fill(self.hole(s, start), 0), t, labels)
            for s, t, start in zip(student_maps, teacher_maps, starts, strict=True)
        ]
        return summed(stages) / len(stages)

    def draw(self, maps: Tensor) -> Starts:
        """Draw uniform first rows in [0, h - int(ratio h)) and columns likewise, each (B,)."""
        batch, _, *size = maps.shape
        rows, columns = (
            torch.randint(side - int(self.ratio * side), (batch,), device=maps.device)
            for side in size
        )
        return rows, columns

    def hole(self, maps: Tensor, starts: Starts) -> Tensor:
        """Mask of the hole, boolean (B, 1, h, w)."""
        inside_rows, inside_columns = (
            self._inside(start.to(maps.device), side)
            for start, side in zip(starts, maps.shape[-2:], strict=True)
        )
        return (inside_rows[:, :, None] & inside_columns[:, None, :]).unsqueeze(1)

    def _inside(self, start: Tensor, side: int) -> Tensor:
        offset = torch.arange(side, device=start.device) - start[:, None]
        return (offset >= 0) & (offset < int(self.ratio * side))
