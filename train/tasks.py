"""What one training step computes: a task turns a batch into a summed loss and its named terms.

A task is the module that is trained: it owns the student and, when distilling, the adapters. The
loop sees nothing but the dict that a task returns.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from conventions.preprocessing import Preprocessing
from datasets.transforms import normalize
from models.segmenter import Intermediates


class Task(nn.Module):
    """What the loop trains: it is called with a batch, and told which step comes next.

    Attributes:
        student: the network that is saved and deployed.
        distiller: owner of the adapters, None for a task without a teacher.
    """

    student: nn.Module
    distiller: nn.Module | None

    def begin_step(self, step: int) -> None:
        """Hear that optimizer step `step` (from 0) comes next; tasks with a schedule follow it."""


class SupervisedTask(Task):
    """Train a network on labels alone.

    Args:
        student: the network, images (B, 3, H, W) to logits (B, K, h, w).
        criterion: logits and labels to a scalar.
        preprocessing: how the network's images are normalised.
    """

    def __init__(
        self, student: nn.Module, criterion: nn.Module, preprocessing: Preprocessing
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.preprocessing = preprocessing
        self.distiller = None

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss"} for images (B, 3, H, W) uint8 and labels (B, H, W)."""
        images = normalize(images, self.preprocessing)
        return {"loss": self.criterion(self.student(images), labels)}


class DistillationTask(Task):
    """Train a student on labels and on what a frozen teacher makes of the same images.

    Args:
        student, criterion, preprocessing: as for `SupervisedTask`.
        distiller: owns the adapters; (student, teacher) intermediates to named, weighted terms.
        teacher: images (B, 3, H, W) uint8, and what is read of them, to `Intermediates`; asked once
            a batch, whatever number of terms reads its answer.
        warmup: optimizer steps in which the distiller's terms grow linearly to their full weight.
    """

    def __init__(
        self,
        student: nn.Module,
        criterion: nn.Module,
        preprocessing: Preprocessing,
        distiller: nn.Module,
        teacher: Callable[[Tensor, Collection[str]], Intermediates],
        warmup: int = 0,
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.preprocessing = preprocessing
        self.distiller = distiller
        self.teacher = teacher
        self.warmup = warmup
        self.register_buffer("share", torch.ones(()), persistent=False)

    def begin_step(self, step: int) -> None:
        """Give the distiller's terms the share of their weight that belongs to a step."""
        if self.warmup:
            self.share.fill_(min(1.0, (step + 1) / (self.warmup + 1)))

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss", "cross_entropy", <terms>}; shapes as for `SupervisedTask`."""
        teacher_out = self.teacher(images, self.distiller.reads)
        images = normalize(images, self.preprocessing)
        student_out = self.student.forward_intermediates(images)
        terms = {"cross_entropy": self.criterion(student_out.logits, labels)}
        distilled = self.distiller(student_out, teacher_out, labels)
        if self.warmup:
            distilled = {name: self.share * term for name, term in distilled.items()}
        terms |= distilled
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}
