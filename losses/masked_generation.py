"""Masked generative distillation (`mgd`).

Yang et al., "Masked Generative Distillation", ECCV 2022 (arXiv 2205.01529), equations 3 to 5.
"""

from typing import Any

import torch
from torch import Tensor, nn

from losses.adapters import StagewiseAdapter
from losses.declaration import MethodOptions, summed
from losses.void import masked_mse

GENERATED_STAGE = 3


class MaskedGenerator(nn.Module):
    """Align the student's map to the teacher's width, mask some pixels and regenerate the map.

    In training, each pixel is masked with probability `mask_ratio`, in all channels at once; in
    `eval()` nothing is masked, so that the output is deterministic.

    Args:
        student_width: channels C_s of the student's map.
        teacher_width: channels C_t of the teacher's map.
        mask_ratio: share of masked pixels, lambda of equation 3.
    """

    def __init__(self, student_width: int, teacher_width: int, mask_ratio: float = 0.75) -> None:
        super().__init__()
        self.mask_ratio = mask_ratio
        self.align = nn.Conv2d(student_width, teacher_width, kernel_size=1)
        self.generate = nn.Sequential(
            nn.Conv2d(teacher_width, teacher_width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(teacher_width, teacher_width, kernel_size=3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C_s, h, w) -> (B, C_t, h, w)."""
        aligned = self.align(features)
        if self.training:
            shape = (aligned.shape[0], 1, *aligned.shape[2:])
            kept = torch.rand(shape, device=aligned.device) >= self.mask_ratio
            aligned = aligned * kept
        return self.generate(aligned)


class GenerationLoss(nn.Module):
    """Sum of squared errors of the generated map per image (equation 5).

    Args:
        reference_side: in pixels. The published weight 2e-5 is for a sum over a map of 64 x 64;
            with a reference, the sum is rescaled to a square map of this side, regardless of crop
            size and share of void. None scales it to the map's own size.
    """

    def __init__(self, reference_side: int | None = None) -> None:
        super().__init__()
        self.reference_side = reference_side

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_t, h, w); returns a scalar >= 0."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        return summed(self._squares(s, t, labels) for s, t in pairs)

    def _squares(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        height, width = student.shape[-2:]
        pixels = height * width if self.reference_side is None else self.reference_side**2
        return masked_mse(student, teacher, labels) * (student.shape[1] * pixels)


def build_generator(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """A `MaskedGenerator` on the last feature stage."""
    width, teacher_width = student.widths[GENERATED_STAGE], teacher.widths[GENERATED_STAGE]
    return StagewiseAdapter("features", {GENERATED_STAGE: MaskedGenerator(width, teacher_width)})
