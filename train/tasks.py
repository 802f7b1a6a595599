"""Tasks: the computation of one training step, from a batch to a total loss and its named terms.

A task is the module that is trained: it owns the student and, when distilling, the adapters. The
loop sees only the dict that a task returns.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from conventions.labels import UNLABELLED, VOID
from conventions.preprocessing import Preprocessing
from datasets.transforms import normalize
from losses.distiller import Distiller
from models.segmenter import Intermediates, Segmenter


class Task(nn.Module):
    """The module that the loop trains; it is called with a batch after `begin_step`.

    Args:
        student: the network that is saved and deployed, images (B, 3, H, W) to logits (B, K, h, w).
        criterion: logits and labels to a scalar.
        preprocessing: normalisation of the network's input.

    Attributes:
        distiller: owns the adapters; None for a task without a teacher.
    """

    distiller: Distiller | None

    def __init__(
        self, student: Segmenter, criterion: nn.Module, preprocessing: Preprocessing
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.preprocessing = preprocessing
        self.distiller = None

    def begin_step(self, step: int, batch: Mapping[str, Any]) -> None:
        """Prepare for a batch (see `collate`) of optimizer step `step` (from 0), if necessary."""

    def loss_on_labels(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss on labels, for images (B, 3, H, W) uint8 and labels (B, H, W)."""
        logits = self.student(normalize(images, self.preprocessing))
        loss: Tensor = self.criterion(logits, labels)
        return loss


class SupervisedTask(Task):
    """Train a network on labels only."""

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss"} for images (B, 3, H, W) uint8 and labels (B, H, W)."""
        return {"loss": self.loss_on_labels(images, labels)}


class DistillationTask(Task):
    """Train a student on labels and on a frozen teacher's outputs for the same images.

    Args:
        student, criterion, preprocessing: as for any `Task`.
        distiller: owns the adapters; (student, teacher) intermediates to named, weighted terms.
        teacher: images (B, 3, H, W) uint8 and names of the required outputs to `Intermediates`;
            one forward pass per batch, shared by all terms.
        warmup: optimizer steps in which the distiller's terms grow linearly to their full weight.
        taught_steps: optimizer steps with a teacher, before those on labels only; None for all.
            Cho and Hariharan, "On the Efficacy of Knowledge Distillation", ICCV 2019, section 4.
        views: images (B, 3, H, W) uint8 and which of them have unlabelled pixels, bool (B,), to
            the student's input; None if all images are labelled.
        recall: called with a batch before the teacher is, for a teacher that needs to know which
            images the batch shows.
    """

    distiller: Distiller
    share: Tensor

    def __init__(
        self,
        student: Segmenter,
        criterion: nn.Module,
        preprocessing: Preprocessing,
        distiller: Distiller,
        teacher: Callable[[Tensor, Collection[str]], Intermediates],
        warmup: int = 0,
        taught_steps: int | None = None,
        views: Callable[[Tensor, Tensor], Tensor] | None = None,
        recall: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(student, criterion, preprocessing)
        self.distiller = distiller
        self.teacher = teacher
        self.warmup = warmup
        self.taught_steps = taught_steps
        self.is_taught = True
        self.views = views
        self.recall = recall
        self.register_buffer("share", torch.ones(()), persistent=False)

    def begin_step(self, step: int, batch: Mapping[str, Any]) -> None:
        """Set whether the step uses the teacher, and the warm-up factor of the terms."""
        self.is_taught = self.taught_steps is None or step < self.taught_steps
        if self.is_taught and self.recall is not None:
            self.recall(batch)
        if self.warmup:
            self.share.fill_(min(1.0, (step + 1) / (self.warmup + 1)))

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss", "cross_entropy", <terms>}; shapes as for `SupervisedTask`."""
        if not self.is_taught:
            return self._from_labels(images, labels)
        teacher_out = self.teacher(images, self.distiller.reads)
        known = labels
        if self.views is not None:
            unlabelled = labels == UNLABELLED
            images = self.views(images, unlabelled.flatten(1).any(1))
            known = labels.masked_fill(unlabelled, VOID)
        student_out = self.student.forward_intermediates(normalize(images, self.preprocessing))
        terms = {"cross_entropy": self.criterion(student_out.logits, known)}
        distilled = self.distiller(student_out, teacher_out, labels)
        if self.warmup:
            distilled = {name: self.share * term for name, term in distilled.items()}
        terms |= distilled
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def _from_labels(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the same entries for a step without the teacher; the terms are 0."""
        cross_entropy = self.loss_on_labels(images, labels)
        # Adapters get a gradient of 0, since DDP waits for the gradient of every parameter.
        unused = sum((p.sum() for p in self.distiller.parameters()), cross_entropy.new_zeros(()))
        terms = dict.fromkeys(self.distiller.losses, 0 * unused)
        return {"loss": cross_entropy + 0 * unused, "cross_entropy": cross_entropy, **terms}
