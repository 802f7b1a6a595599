"""Attention transfer (`at`).

Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017 (arXiv 1612.03928),
activation-based variant, equations 1 and 2 with p = 2.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def attention_map(features: Tensor) -> Tensor:
    """Mean of squares over channels, L2-normalised over pixels: (B, C, h, w) -> (B, h * w)."""
    energy = features.float().square().mean(dim=1).flatten(1)
    return F.normalize(energy, dim=1)


class AttentionTransferLoss(nn.Module):
    """Sum over stages of the MSE between attention maps.

    The maps have no channels, so teacher and student may differ in width and no adapter is needed.
    Transformer features come out of a LayerNorm, whose energy is the same at every pixel until its
    affine weights have been trained: untrained networks give a loss near 0, and a trained teacher
    a weaker signal than the convolutional networks that the paper has in mind.
    """

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare maps (B, C_s, h, w) with (B, C_t, h, w); returns a scalar >= 0."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        return sum(F.mse_loss(attention_map(s), attention_map(t)) for s, t in pairs)
