"""The network that is distilled: frozen, and in a precision of its own."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from datasets.transforms import normalize
from models.segmenter import Intermediates

HEAD_MAPS = frozenset({"logits", "fused"})  # what the decode head yields


class FrozenTeacher:
    """A network that only answers: in `eval()`, without gradients.

    It is deliberately no nn.Module, so that no task that holds one can train, save or replicate it.

    Args:
        network: images (B, 3, H, W) to `Intermediates`.
        preprocessing: "mean" and "std" that the network's images are normalised with.
        classes: names of its classes, where they are known.
        precision: that it computes in, whatever the student does; None for the student's.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: dict,
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
            images = normalize(images, self.preprocessing["mean"], self.preprocessing["std"])
            return self.network.forward_intermediates(images, not HEAD_MAPS.isdisjoint(reads))

    def _autocast(self, device_type: str) -> AbstractContextManager:
        if self.precision is None:
            return nullcontext()
        enabled = self.precision != torch.float32
        return torch.autocast(device_type, self.precision if enabled else None, enabled)
