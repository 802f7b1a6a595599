"""Boundary-privileged distillation (`bpkd`): class borders and bodies apart.

Liu et al., "BPKD: Boundary Privileged Knowledge Distillation For Semantic Segmentation", WACV 2024
(arXiv 2306.08075), sections 3.2 and 3.3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conventions.labels import UNLABELLED
from losses.logits import pixel_divergence
from losses.void import LEFT_OUT, labelled, labels_at


class BoundaryPrivilegedLoss(nn.Module):
    """Pixel-wise KL in a band around class borders, plus KL of shapes over class bodies.

    A class's band is the area between its dilation and its erosion; the divergence is averaged
    over the band of each class, then over classes. A body is what erosion leaves; a softmax over
    its pixels turns the class's logit into a distribution, and the divergences are averaged over
    images and classes. Where there is no label, the teacher's argmax is used instead.

    Args:
        temperature: tau of both parts; each is scaled by its square.
        radius: radius of dilation and erosion, in cells of the logits.
        body_weight: factor on the second part.
    """

    def __init__(self, temperature: float = 1.0, radius: int = 1, body_weight: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.radius = radius
        self.body_weight = body_weight

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar >= 0."""
        (student,), (teacher,) = student_maps, teacher_maps
        size, classes = student.shape[-2:], student.shape[1]
        ids = teacher.argmax(1)
        if labels is not None:
            told = labels_at(labels, size)
            ids = told.where(told != UNLABELLED, ids)
        inside = torch.stack([ids == k for k in range(classes)], dim=1).float()
        known = labelled(labels, size)
        band, body = self._split(inside, known)
        edge = self._edges(student, teacher, band)
        return edge + self.body_weight * self._bodies(student.float(), teacher.float(), body)

    def _split(self, inside: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Band and body masks of every class, (B, K, h, w) each, of 0 and 1.

        Void is in neither, and its edge is no border: what lies behind it is not known.
        """
        side = 2 * self.radius + 1
        known = torch.ones_like(inside[:, :1]) if known is None else known
        dilated = F.max_pool2d(inside, side, stride=1, padding=self.radius)
        bordering = F.max_pool2d((1 - inside) * known, side, stride=1, padding=self.radius)
        body = inside * (1 - bordering)
        return (dilated - body) * known, body * known

    def _edges(self, student: Tensor, teacher: Tensor, band: Tensor) -> Tensor:
        divergence = pixel_divergence(student, teacher, self.temperature)
        pixels = band.sum((0, 2, 3))
        means = (divergence * band).sum((0, 2, 3)) / pixels.clamp_min(1)
        return means.sum() / (pixels > 0).sum().clamp_min(1)

    def _bodies(self, student: Tensor, teacher: Tensor, body: Tensor) -> Tensor:
        student, teacher = (
            F.log_softmax((x / self.temperature).masked_fill(body == 0, LEFT_OUT).flatten(2), -1)
            for x in (student, teacher)
        )
        divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
        shown = body.flatten(2).any(-1).float()
        return self.temperature**2 * (divergence * shown).sum() / shown.sum().clamp_min(1)
