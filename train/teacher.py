"""The network that is distilled: frozen, and in a precision of its own."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from conventions.preprocessing import Preprocessing
from datasets.transforms import normalize
from models.segmenter import Intermediates, Segmenter

TINY = torch.finfo(torch.float32).tiny
HEAD_MAPS = frozenset({"logits", "fused"})  # what the decode head yields


class FrozenTeacher:
    """A network that only answers: in `eval()`, without gradients.

    It is deliberately no nn.Module, so that no task that holds one can train, save or replicate it.

    Args:
        network: images (B, 3, H, W) to `Intermediates`.
        preprocessing: how the network's images are normalised.
        classes: names of its classes, where they are known.
        precision: that it computes in, whatever the student does; None for the student's.
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
        """Return the `Intermediates` of images (B, 3, H, W) uint8, at least those of `reads`."""
        with torch.no_grad(), self._autocast(images.device.type):
            images = normalize(images, self.preprocessing)
            return self.network.forward_intermediates(images, not HEAD_MAPS.isdisjoint(reads))

    def _autocast(self, device_type: str) -> AbstractContextManager:
        if self.precision is None:
            return nullcontext()
        enabled = self.precision != torch.float32
        return torch.autocast(device_type, self.precision if enabled else None, enabled)


class TeacherEnsemble:
    """Several frozen teachers that answer with the mean of their probabilities.

    Only logits can be averaged: features of different networks have no common channels.

    Args:
        teachers: of the same classes.
    """

    def __init__(self, teachers: Sequence[FrozenTeacher]) -> None:
        self.teachers = tuple(teachers)

    @property
    def network(self) -> Segmenter:
        """The first teacher's; what a distiller learns of the ensemble is its number of classes."""
        return self.teachers[0].network

    @property
    def classes(self) -> Sequence[str] | None:
        """Names of the classes, where the first teacher knows them."""
        return self.teachers[0].classes

    def __call__(self, images: Tensor, reads: Collection[str] = HEAD_MAPS) -> Intermediates:
        """Return logits of images (B, 3, H, W) uint8 whose softmax is the mean of probabilities.

        Teachers of another output stride are resized to the first one's maps.
        """
        assert set(reads) <= {"logits"}, reads
        answers = [teacher(images, {"logits"}) for teacher in self.teachers]
        with torch.no_grad():
            logits = [answer.logits.float() for answer in answers if answer.logits is not None]
            size = logits[0].shape[-2:]
            probabilities = [
                functional.interpolate(each.softmax(1), size, mode="bilinear") for each in logits
            ]
            mean = torch.stack(probabilities).mean(0)
            return Intermediates(answers[0].images, mean.clamp_min(TINY).log())
