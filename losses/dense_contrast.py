"""Augmentation-free dense contrast (the second half of `af-dcd`).

Fan et al., "Augmentation-Free Dense Contrastive Knowledge Distillation for Efficient Semantic
Segmentation", NeurIPS 2023 (arXiv 2312.04168), section 3.3: inside small patches and groups of
channels, the student's vector is to be nearer to the teacher's at its own place than to those at
other places. The first half is masked generation, see `losses/masked_generation.py`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import summed
from losses.void import labelled

LEFT_OUT = -1e9


class DenseContrastLoss(nn.Module):
    """Cross-entropy of a pixel's own place among the places of its patch, per channel group.

    The similarity of two vectors of a group is -|s - t|_1 / temperature, both L2-normalised.

    Args:
        patch: side of a patch, in cells. Cells that fill no whole patch are left out.
        groups: of channels; as many of these as divide the width.
        temperature: tau.
    """

    def __init__(self, patch: int = 4, groups: int = 16, temperature: float = 0.07) -> None:
        super().__init__()
        self.patch = patch
        self.groups = groups
        self.temperature = temperature

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_t, h, w); returns a scalar >= 0, summed over the lists' entries."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        with torch.autocast(student_maps[0].device.type, enabled=False):
            return summed(self._contrast(s, t, labels) for s, t in pairs)

    def _contrast(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        height, width = student.shape[-2:]
        mask = labelled(labels, (height, width))
        mask = torch.ones_like(student[:, :1]) if mask is None else mask
        places = self._patches(mask.float(), 1)[..., 0]  # (B, n, 1, p)
        student, teacher = (
            F.normalize(self._patches(maps.float(), self._group_count(maps)), dim=-1)
            for maps in (student, teacher)
        )
        similarity = -torch.cdist(student, teacher, p=1) / self.temperature  # (B, n, g, p, p)
        similarity = similarity.masked_fill(places[..., None, :] == 0, LEFT_OUT)
        losses = -F.log_softmax(similarity, -1).diagonal(dim1=-2, dim2=-1)  # (B, n, g, p)
        counted = places.expand_as(losses)
        return (losses * counted).sum() / counted.sum().clamp_min(1)

    def _group_count(self, maps: Tensor) -> int:
        return next(
            n for n in range(min(self.groups, maps.shape[1]), 0, -1) if maps.shape[1] % n == 0
        )

    def _patches(self, maps: Tensor, groups: int) -> Tensor:
        """(B, C, h, w) -> (B, patches, groups, places of a patch, C / groups)."""
        rows, columns = (min(self.patch, side) for side in maps.shape[-2:])
        height, width = maps.shape[-2] // rows * rows, maps.shape[-1] // columns * columns
        maps = maps[..., :height, :width].unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
        maps = maps.unflatten(1, (groups, -1))  # (B, g, c, H, r, W, k)
        return maps.permute(0, 3, 5, 1, 4, 6, 2).flatten(4, 5).flatten(1, 2)
