"""Frozen teachers, which may run in their own precision."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from conventions.preprocessing import Preprocessing
from datasets.transforms import normalize
from models.segmenter import Intermediates, Segmenter

TINY = torch.finfo(torch.float32).tiny
HEAD_MAPS = frozenset({"logits", "fused"})  # outputs of the decode head


class FrozenTeacher:
    """A network for inference only: in `eval()`, without gradients.

    It is deliberately not an nn.Module, so that a task that holds it cannot train, save or
    replicate it.

    Args:
        network: images (B, 3, H, W) to `Intermediates`.
        preprocessing: normalisation of the network's input.
        classes: class names, if known.
        precision: dtype of the forward pass; None for that of the student.
    """

    def __init__(
        self,
        network: Segmenter,
        preprocessing: Preprocessing,
        classes: Sequence[str] | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.classes = classes
        self.precision = precision

    def __call__(self, images: Tensor, reads: Collection[str] = HEAD_MAPS) -> Intermediates:
        """Return `Intermediates` of images (B, 3, H, W) uint8, including at least `reads`."""
        with torch.no_grad(), self._autocast(images.device.type):
            images = normalize(images, self.preprocessing)
            return self.network.forward_intermediates(images, not HEAD_MAPS.isdisjoint(reads))

    def _autocast(self, device_type: str) -> AbstractContextManager:
        if self.precision is None:
            return nullcontext()
        enabled = self.precision != torch.float32
        return torch.autocast(device_type, self.precision if enabled else None, enabled)


class TeacherEnsemble:
    """Several frozen teachers whose probabilities are averaged.

    Only logits are supported: feature channels of different networks do not correspond.

    Args:
        teachers: teachers with the same classes.
    """

    def __init__(self, teachers: Sequence[FrozenTeacher]) -> None:
        self.teachers = tuple(teachers)

    @property
    def network(self) -> Segmenter:
        """The first teacher's network, from which a distiller reads the number of classes."""
        return self.teachers[0].network

    @property
    def classes(self) -> Sequence[str] | None:
        """Class names of the first teacher, if known."""
        return self.teachers[0].classes

    def __call__(self, images: Tensor, reads: Collection[str] = HEAD_MAPS) -> Intermediates:
        """Return logits of images (B, 3, H, W) uint8 whose softmax is the mean of probabilities.

        The offset of each pixel, which a softmax over classes ignores but one over pixels does not
        (`cwd`, `bpkd`), is the teachers' mean log-sum-exp: equal teachers answer as one of them.
        Both means are taken at the size of the first teacher's maps.
        """
        assert set(reads) <= {"logits"}, reads
        answers = [teacher(images, {"logits"}) for teacher in self.teachers]
        with torch.no_grad():
            logits = [answer.logits.float() for answer in answers if answer.logits is not None]
            size = logits[0].shape[-2:]
            probabilities = _mean_at(size, [each.softmax(1) for each in logits])
            offset = _mean_at(size, [each.logsumexp(1, keepdim=True) for each in logits])
            return Intermediates(answers[0].images, probabilities.clamp_min(TINY).log() + offset)


def _mean_at(size: torch.Size, maps: Sequence[Tensor]) -> Tensor:
    """Mean of maps (B, C, h_i, w_i), each resized to `size` first."""
    resized = [functional.interpolate(each, size, mode="bilinear") for each in maps]
    return torch.stack(resized).mean(0)
