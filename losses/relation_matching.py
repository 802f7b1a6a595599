"""Relation matching (`dist`).

Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022 (arXiv 2205.10536),
equations 6 to 10.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation over the last axis, 0 where either side is constant."""
    a = a - a.mean(dim=-1, keepdim=True)
    b = b - b.mean(dim=-1, keepdim=True)
    return F.cosine_similarity(a, b, dim=-1)


class RelationMatchingLoss(nn.Module):
    """(1 - inter-class correlation) + (1 - intra-class correlation) of class probabilities.

    Inter-class: over the classes of a pixel, averaged over pixels. Intra-class: over all pixels of
    the batch for a class, averaged over classes. Both are scaled by tau^2 as in the published code.
    With two classes the inter-class correlation is 1 or -1 and passes no gradient.

    Args:
        temperature: tau of the softmax.
        inter_weight, intra_weight: beta and gamma of equation 10.
    """

    def __init__(
        self, temperature: float = 1.0, inter_weight: float = 1.0, intra_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight

    def _probabilities(self, logits: Tensor) -> Tensor:
        """(B, K, h, w) -> (K, B * h * w)."""
        probabilities = (logits.float() / self.temperature).softmax(dim=1)
        return probabilities.transpose(0, 1).flatten(1)

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar in [0, 2 tau^2 (beta + gamma)]."""
        total = 0.0
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            student, teacher = self._probabilities(student), self._probabilities(teacher)
            inter = 1 - pearson(student.T, teacher.T).mean()
            intra = 1 - pearson(student, teacher).mean()
            total = total + self.inter_weight * inter + self.intra_weight * intra
        return self.temperature**2 * total
