"""A teacher that runs once per image, for all views of it that the student sees."""

from collections.abc import Collection, Mapping, Sequence, Sized
from typing import Any, cast

import psutil
import torch
from torch import Tensor
from torch.utils.data import Dataset

from command_line.memory import memory_advice
from datasets.base import Sample
from datasets.views import cut_view
from models.segmenter import Intermediates, Segmenter
from train.teacher import FrozenTeacher, TeacherEnsemble

LARGEST_SHARE = 0.7  # of the free memory; the student needs the rest
READS = frozenset({"logits"})


class CachedTeacher:
    """Crops a view's logits from those that a teacher computes once for the whole image.

    As Yun et al., "Re-labeling ImageNet", CVPR 2021, do with label maps. The logits of a view are
    interpolated unless it is at the image's own scale, and do not depend on the view's colours.
    Only logits are supported: features of a mirrored or enlarged view differ from the mirrored or
    enlarged features of the image.

    Each process caches the logits of the images it has seen, as 16-bit floats.

    Args:
        teacher: computes the logits.
        images: whole training images by index, at the size of views of scale 1 or larger, so that
            the teacher sees more detail than the student. If a side is not a multiple of the
            logits' stride, the last cell is slightly misaligned.
        processes: number of processes that cache logits in the same memory.
    """

    def __init__(
        self,
        teacher: FrozenTeacher | TeacherEnsemble,
        images: Dataset[Sample],
        processes: int = 1,
    ) -> None:
        self.teacher = teacher
        self.images = images
        self.processes = processes
        self.kept: dict[int, Tensor] = {}
        self.kept_bytes = 0
        self.like: Tensor | None = None  # the teacher's logits of a view, for size and dtype
        self.recalled: Tensor | None = None
        self.free = LARGEST_SHARE * psutil.virtual_memory().available

    @property
    def network(self) -> Segmenter:
        """The teacher's network."""
        return self.teacher.network

    @property
    def classes(self) -> Sequence[str] | None:
        """The teacher's class names, if known."""
        return self.teacher.classes

    def recall(self, batch: Mapping[str, Any]) -> None:
        """Crop the logits for a batch of `ViewedDataset` samples; see `collate`.

        Raises:
            ValueError: the logits of all images, or the teacher's forward pass on one image, need
                more memory than there is.
        """
        shown, views = batch["image"], batch["view"]
        if self.like is None:
            self.like = self._ask(shown[:1])
        size = (self.like.shape[-2], self.like.shape[-1])
        whole = [self._answer(index, shown.device).float() for index in batch["index"]]
        with torch.autocast(shown.device.type, enabled=False):  # it would round positions
            cut = [cut_view(each, view, size) for each, view in zip(whole, views, strict=True)]
        self.recalled = torch.stack(cut).to(self.like.dtype)

    def __call__(self, images: Tensor, reads: Collection[str]) -> Intermediates:
        """Return the logits that `recall` cropped for the views `images`, (B, 3, H, W) uint8."""
        assert set(reads) <= READS, reads
        assert self.recalled is not None and len(self.recalled) == len(images)
        return Intermediates(images, self.recalled)

    def _answer(self, index: int, device: torch.device) -> Tensor:
        """The teacher's logits (K, h, w) of a whole image, on a device."""
        if index not in self.kept:
            image = self.images[index]["image"].to(device)
            height, width = image.shape[-2:]
            advice = (
                f"--kd-cache shows the teacher a whole image, of {width} x {height} px, which "
                "needs more memory than there is: leave it out, or pass a smaller --image-size or "
                "--teacher-image-size"
            )
            with memory_advice(advice):
                self.kept[index] = self._ask(image[None])[0].to("cpu", torch.float16)
            self.kept_bytes += self.kept[index].nbytes
            self._check_memory()
        return self.kept[index].to(device)

    def _ask(self, images: Tensor) -> Tensor:
        logits = self.teacher(images, READS).logits
        assert logits is not None
        return logits

    def _check_memory(self) -> None:
        """Raise if the logits of all images, extrapolated from the cached ones, will not fit."""
        count = len(cast(Sized, self.images))
        need = self.processes * count * self.kept_bytes / len(self.kept)
        if need > self.free:
            raise ValueError(
                f"--kd-cache: the teacher's answers about {count} images take {need / 1e9:.1f} GB, "
                f"more than {self.free / 1e9:.1f} GB, {LARGEST_SHARE:.0%} of the free memory: "
                "leave it out, or pass a smaller --image-size"
            )
