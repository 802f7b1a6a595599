"""Attention transfer (`at`).

Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017 (arXiv 1612.03928),
activation-based variant, equations 1 and 2 with p = 2.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import summed
from losses.void import labelled, masked_mean


def attention_map(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of squares over channels, L2-normalised over labelled cells.

    Args:
        features: (B, C, h, w).
        mask: (B, 1, h, w) of 0 and 1; None counts all cells.

    Returns:
        (B, 1, h, w).
    """
    energy = features.float().square().mean(dim=1, keepdim=True)
    if mask is not None:
        energy = energy * mask
    return F.normalize(energy.flatten(2), dim=2).view_as(energy)


class AttentionTransferLoss(nn.Module):
    """Sum over stages of the MSE between attention maps.

    The maps have no channels, so teacher and student may differ in width and no adapter is needed.
    Read stage outputs before their LayerNorm: after it, the energy is nearly the same everywhere.

    Args:
        reference_side: side of the finest map, in pixels. A normalised map has the same energy at
            any size, so its mean over pixels depends on the crop size; with a reference, the mean
            is rescaled to that of a square map of this side. None keeps the plain MSE.
    """

    def __init__(self, reference_side: int | None = None) -> None:
        super().__init__()
        self.reference_side = reference_side

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_s, h, w) with (B, C_t, h, w); returns a scalar >= 0."""
        terms = []
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            mask = labelled(labels, student.shape[-2:])
            difference = attention_map(student, mask) - attention_map(teacher, mask)
            terms.append(masked_mean(difference.square(), mask))
        return summed(terms) * self._scale(student_maps[0])

    def _scale(self, finest: Tensor) -> float:
        if self.reference_side is None:
            return 1.0
        return finest.shape[-2] * finest.shape[-1] / self.reference_side**2
