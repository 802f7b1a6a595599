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
        reference_side: side of the finest map, in pixels. A normalised map has the same energy
            whatever its number of labelled cells, so its mean over these depends on the crop size
            and on the share of void; with a reference, the mean is over as many cells as a square
            map of this side has. None keeps the plain MSE.
    """

    def __init__(self, reference_side: int | None = None) -> None:
        super().__init__()
        self.reference_side = reference_side

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_s, h, w) with (B, C_t, h, w); returns a scalar >= 0."""
        terms = []
        finest = student_maps[0][0, 0].numel()
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            mask = labelled(labels, student.shape[-2:])
            difference = attention_map(student, mask) - attention_map(teacher, mask)
            terms.append(self._mean(difference.square(), mask, finest))
        return summed(terms)

    def _mean(self, squares: Tensor, mask: Tensor | None, finest: int) -> Tensor:
        """Mean of squares (B, 1, h, w), which are 0 at void, of a stage.

        `finest` is the number of cells of the first stage. Images of void alone do not count.
        """
        if self.reference_side is None:
            return masked_mean(squares, mask)
        cells = self.reference_side**2 * squares[0].numel() / finest
        images = len(squares) if mask is None else mask.amax((1, 2, 3)).sum().clamp_min(1)
        return squares.sum() / (images * cells)
