"""What one training step computes: a task turns a batch into a summed loss and its named terms.

A task is the module that is trained: it owns the student and, when distilling, the adapters. The
loop sees nothing but the dict that a task returns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.transforms import normalize


class SegmentationLoss(nn.Module):
    """Cross-entropy at the label's own size, void pixels left out.

    The mean is weighted as in `torch.nn.CrossEntropyLoss`, but 0 instead of not-a-number where a
    batch has no labelled pixel at all, as a crop of a sparsely labelled image may have.
    """

    def __init__(self, ignore_index: int = 255, class_weights: Sequence[float] | None = None):
        super().__init__()
        self.ignore_index = ignore_index
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, K, h, w) with labels (B, H, W), upsampling bilinearly to H x W."""
        logits = logits.float()
        if logits.shape[-2:] != labels.shape[-2:]:
            logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
        total = F.cross_entropy(
            logits, labels, self.class_weights, ignore_index=self.ignore_index, reduction="sum"
        )
        return total / self._weight_of(labels).clamp_min(torch.finfo(torch.float32).tiny)

    def _weight_of(self, labels: Tensor) -> Tensor:
        if self.class_weights is None:
            return (labels != self.ignore_index).sum().float()
        counts = torch.stack([(labels == k).sum() for k in range(len(self.class_weights))])
        return (counts * self.class_weights).sum()


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


class FrozenTeacher:
    """A network that only answers: in `eval()`, without gradients.

    It is deliberately no nn.Module, so that no task that holds one can train, save or replicate it.
    """

    def __init__(
        self, network: nn.Module, preprocessing: dict, classes: Sequence[str] | None = None
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.classes = classes

    def __call__(self, images: Tensor) -> object:
        """Return the `Intermediates` of images (B, 3, H, W) uint8."""
        with torch.no_grad():
            images = normalize(images, self.preprocessing["mean"], self.preprocessing["std"])
            return self.network.forward_intermediates(images)


class DistillationTask(nn.Module):
    """Train a student on labels and on what a frozen teacher makes of the same images.

    Args:
        student, criterion, preprocessing: as for `SupervisedTask`.
        distiller: owns the adapters; (student, teacher) intermediates to named, weighted terms.
        teacher: asked once a batch, whatever number of terms reads its answer.
    """

    def __init__(
        self,
        student: nn.Module,
        criterion: nn.Module,
        preprocessing: dict,
        distiller: nn.Module,
        teacher: FrozenTeacher,
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.preprocessing = preprocessing
        self.distiller = distiller
        self.teacher = teacher

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss", "cross_entropy", <terms>}; shapes as for `SupervisedTask`."""
        teacher_out = self.teacher(images)
        images = normalize(images, self.preprocessing["mean"], self.preprocessing["std"])
        student_out = self.student.forward_intermediates(images)
        terms = {"cross_entropy": self.criterion(student_out.logits, labels)}
        terms |= self.distiller(student_out, teacher_out)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}
