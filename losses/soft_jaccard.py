"""Jaccard metric loss with soft targets (`jml`).

Wang et al., "Jaccard Metric Losses: Optimizing the Jaccard Index with Soft Labels", NeurIPS 2023
(arXiv 2302.05666): the intersection written with L1 norms remains a Jaccard index for soft targets,
so that label and teacher can be averaged into one target.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conventions.labels import VOID

SMOOTH = 1.0  # pixels; keeps the loss of absent classes at 0


class SoftJaccardLoss(nn.Module):
    """Mean over classes of 1 - (tp + 1) / (tp + fp + fn + 1), over the pixels of the batch.

    With p the student's probabilities and y' = (y + p_t) / 2 of label and teacher,
    tp = (|p| + |y'| - |p - y'|) / 2, fp = |p| - tp and fn = |y'| - tp. Without a label, y' = p_t.
    Only classes with a target of more than one pixel count. Logits are brought to the size of the
    labels, as in the authors' code: a label at a quarter of its size has lost thin leaves.
    """

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar in [0, 1]."""
        (student,), (teacher,) = student_maps, teacher_maps
        size = student.shape[-2:] if labels is None else labels.shape[-2:]
        probabilities, target = (
            F.interpolate(logits.float(), size, mode="bilinear").softmax(1)
            for logits in (student, teacher)
        )
        if labels is not None:
            known = (labels < student.shape[1]).unsqueeze(1)
            ids = labels.long().where(known[:, 0], 0)
            one_hot = F.one_hot(ids, student.shape[1]).permute(0, 3, 1, 2)
            target = torch.where(known, (one_hot + target) / 2, target)
            mask = (labels != VOID).unsqueeze(1)
            probabilities, target = probabilities * mask, target * mask
        sums, targets = probabilities.sum((0, 2, 3)), target.sum((0, 2, 3))
        both = (sums + targets - (probabilities - target).abs().sum((0, 2, 3))) / 2
        loss = 1 - (both + SMOOTH) / (sums + targets - both + SMOOTH)
        held = (targets > SMOOTH).float()
        return (loss * held).sum() / held.sum().clamp_min(1)
