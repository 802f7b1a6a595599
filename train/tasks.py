"""What one training step computes: a task turns a batch into a summed loss and its named terms.

A task is the module that is trained: it owns the student and, when distilling, the adapters. The
loop sees nothing but the dict that a task returns.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from datasets.transforms import normalize
from models.segmenter import Intermediates


class SupervisedTask(nn.Module):
    """Train a network on labels alone.

    Args:
        student: the network, images (B, 3, H, W) to logits (B, K, h, w).
        criterion: logits and labels to a scalar.
        preprocessing: "mean" and "std" that the network's images are normalised with.
    """

    def __init__(self, student: nn.Module, criterion: nn.Module, preprocessing: dict) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.preprocessing = preprocessing

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss"} for images (B, 3, H, W) uint8 and labels (B, H, W)."""
        images = normalize(images, self.preprocessing["mean"], self.preprocessing["std"])
        return {"loss": self.criterion(self.student(images), labels)}


class DistillationTask(nn.Module):
    """Train a student on labels and on what a frozen teacher makes of the same images.

    Args:
        student, criterion, preprocessing: as for `SupervisedTask`.
        distiller: owns the adapters; (student, teacher) intermediates to named, weighted terms.
        teacher: images (B, 3, H, W) uint8, and what is read of them, to `Intermediates`; asked once
            a batch, whatever number of terms reads its answer.
    """

    def __init__(
        self,
        student: nn.Module,
        criterion: nn.Module,
        preprocessing: dict,
        distiller: nn.Module,
        teacher: Callable[[Tensor, Collection[str]], Intermediates],
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.preprocessing = preprocessing
        self.distiller = distiller
        self.teacher = teacher

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss", "cross_entropy", <terms>}; shapes as for `SupervisedTask`."""
        teacher_out = self.teacher(images, self.distiller.reads)
        images = normalize(images, self.preprocessing["mean"], self.preprocessing["std"])
        student_out = self.student.forward_intermediates(images)
        terms = {"cross_entropy": self.criterion(student_out.logits, labels)}
        terms |= self.distiller(student_out, teacher_out, labels)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}
