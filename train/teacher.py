"""The network that is distilled: it only answers, in its own precision, and may remember."""

import hashlib
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import psutil
import torch
from torch import Tensor, nn

from datasets.transforms import normalize
from models.segmenter import Intermediates

LARGEST_SHARE = 0.7  # of the free memory that remembered answers may take
KINDS = ("logits", "features", "embeddings")


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

    def __call__(self, images: Tensor, reads: Collection[str] = KINDS) -> Intermediates:
        """Return the `Intermediates` of images (B, 3, H, W) uint8, at least those of `reads`."""
        with torch.no_grad(), self._autocast(images.device.type):
            images = normalize(images, self.preprocessing["mean"], self.preprocessing["std"])
            return self.network.forward_intermediates(images, "logits" in reads)

    def _autocast(self, device_type: str) -> AbstractContextManager:
        if self.precision is None:
            return nullcontext()
        enabled = self.precision != torch.float32
        return torch.autocast(device_type, self.precision if enabled else None, enabled)


class RememberingTeacher:
    """Asks a teacher once an image, and keeps the answer in the computer's memory.

    What a frozen network says depends on the pixels alone, so a digest of them is the key, and
    training gets the same numbers as without, within rounding. Images are asked one by one: an
    answer then does not depend on which images came together, and a resumed run repeats it.

    Args:
        teacher: who is asked.
        expected: different images that are going to be shown.
    """

    def __init__(self, teacher: FrozenTeacher, expected: int) -> None:
        self.teacher = teacher
        self.expected = expected
        self.answers: dict[bytes, dict[str, list[Tensor]]] = {}

    def __call__(self, images: Tensor, reads: Collection[str] = KINDS) -> Intermediates:
        """Return those `Intermediates` of images (B, 3, H, W) uint8 that are read; keep no others.

        Raises:
            ValueError: the answers will not fit into the free memory.
        """
        answers = [self._answer(image, reads) for image in images]

        def batch(kind: str) -> list[Tensor]:
            stages = zip(*(answer.get(kind, ()) for answer in answers), strict=True)
            return [torch.cat(stage).to(images.device, non_blocking=True) for stage in stages]

        logits, *_ = batch("logits") or [None]
        return Intermediates(images, logits, batch("features"), batch("embeddings"))

    def _answer(self, image: Tensor, reads: Collection[str]) -> dict[str, list[Tensor]]:
        key = hashlib.blake2b(image.cpu().numpy().tobytes(), digest_size=16).digest()
        if key not in self.answers:
            out = self.teacher(image[None], reads)
            maps = {"logits": [out.logits], "features": out.features, "embeddings": out.embeddings}
            answer = {kind: [m.cpu() for m in maps[kind]] for kind in reads}
            if not self.answers:
                self._check_memory(answer)
            self.answers[key] = answer
        return self.answers[key]

    def _check_memory(self, answer: dict[str, list[Tensor]]) -> None:
        needed = self.expected * sum(m.nbytes for maps in answer.values() for m in maps)
        free = LARGEST_SHARE * psutil.virtual_memory().available
        if needed > free:
            raise ValueError(
                f"--teacher-cache: answers to {self.expected} images take {needed / 1e9:.1f} GB, "
                f"more than {LARGEST_SHARE:.0%} of the free memory: leave it out"
            )
