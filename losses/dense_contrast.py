"""Augmentation-free dense contrast (the second half of `af-dcd`).

Fan et al., "Augmentation-Free Dense Contrastive Knowledge Distillation for Efficient Semantic
Segmentation", NeurIPS 2023 (arXiv 2312.04168), section 3.3: inside small patches, a group of
channels generated from the student's map should be closer to the teacher's same group at the same
cell than to the teacher's other groups. The first half is masked generation, see
`losses/masked_generation.py`; both read the same generated map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import summed
from losses.void import LEFT_OUT, labelled


class DenseContrastLoss(nn.Module):
    """Cross-entropy that identifies a channel group among the teacher's groups in its patch.

    The similarity of two groups is -|s - t|_1 / temperature. The positive is the teacher's same
    group at the same cell, the negatives are its other groups at all cells of the patch; the same
    group at other cells is neither, because neighbours are alike. The loss is summed over groups
    and averaged over cells, as in the authors' code.

    Args:
        patch: side of a patch, in cells. Incomplete patches are left out.
        groups: channel groups, lowered to a divisor of the width. A single one has no negatives.
        temperature: tau.
        side: maps whose shorter side is at least twice this many cells are max-pooled by the ratio
            of the two, rounded down. The authors pool maps of 64 cells by 4.
    """

    def __init__(
        self, patch: int = 4, groups: int = 16, temperature: float = 0.07, side: int = 16
    ) -> None:
        super().__init__()
        self.patch = patch
        self.groups = groups
        self.temperature = temperature
        self.side = side

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_t, h, w); returns a scalar >= 0, summed over the lists."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        with torch.autocast(student_maps[0].device.type, enabled=False):
            return summed(self._contrast(s.float(), t.float(), labels) for s, t in pairs)

    def _contrast(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        mask = labelled(labels, student.shape[-2:])
        mask = torch.ones_like(student[:, :1]) if mask is None else mask
        factor = max(1, min(student.shape[-2:]) // self.side)
        student, teacher = (_max_pool(maps, mask, factor) for maps in (student, teacher))
        mask = F.max_pool2d(mask, factor)
        groups = self._group_count(student)
        ours, theirs = (self._patches(maps, groups) for maps in (student, teacher))
        similarity = -torch.cdist(ours, theirs, p=1) / self.temperature  # (B, n, p g, p g)
        counted = self._patches(mask.expand(-1, groups, -1, -1), groups)[..., 0]  # (B, n, p g)
        own = torch.arange(counted.shape[-1], device=counted.device)
        same_group = (own[:, None] - own) % groups == 0
        elsewhere = same_group & (own[:, None] != own)
        similarity = similarity.masked_fill(elsewhere | (counted[..., None, :] == 0), LEFT_OUT)
        losses = -F.log_softmax(similarity, -1).diagonal(dim1=-2, dim2=-1)
        return groups * (losses * counted).sum() / counted.sum().clamp_min(1)

    def _group_count(self, maps: Tensor) -> int:
        return next(
            n for n in range(min(self.groups, maps.shape[1]), 0, -1) if maps.shape[1] % n == 0
        )

    def _patches(self, maps: Tensor, groups: int) -> Tensor:
        """(B, C, h, w) -> (B, patches, cells of a patch x groups, C / groups)."""
        rows, columns = (min(self.patch, side) for side in maps.shape[-2:])
        height, width = maps.shape[-2] // rows * rows, maps.shape[-1] // columns * columns
        maps = maps[..., :height, :width].unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
        maps = maps.unflatten(1, (groups, -1))  # (B, g, c, H, r, W, k)
        maps = maps.permute(0, 3, 5, 4, 6, 1, 2)  # (B, H, W, r, k, g, c)
        return maps.flatten(3, 5).flatten(1, 2)


def _max_pool(maps: Tensor, mask: Tensor, factor: int) -> Tensor:
    """Max-pool maps (B, C, h, w) over labelled cells, mask (B, 1, h, w); 0 where none is."""
    lowest = torch.finfo(maps.dtype).min
    return F.max_pool2d(maps.masked_fill(mask == 0, lowest), factor) * F.max_pool2d(mask, factor)
