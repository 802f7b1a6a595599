"""A teacher that is asked once about each image, for all views of it that a student is shown."""

from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, cast

import psutil
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.base import Sample
from datasets.views import cut_view
from losses.declaration import SINGLE, maps_of
from models.segmenter import Intermediates, Segmenter
from train.teacher import FrozenTeacher, TeacherEnsemble

LARGEST_SHARE = 0.7  # of the free memory; the student needs some as well


class CachedTeacher:
    """Answers about views by what a teacher says of whole images, each of which it sees once.

    Yun et al., "Re-labeling ImageNet", CVPR 2021, cut maps of classes so; here it is any map that
    a method reads. A view's answer is interpolated where the view is not at the image's own scale,
    and does not depend on the view's colours. Answers are kept in memory as 16 bit floats.

    Args:
        teacher: is asked.
        images: of the training split by index, whole, at the size that views of scale 1 have.
        reads: which of the `INTERMEDIATES` are kept.
    """

    def __init__(
        self,
        teacher: FrozenTeacher | TeacherEnsemble,
        images: Dataset[Sample],
        reads: Collection[str],
    ) -> None:
        self.teacher = teacher
        self.images = images
        self.reads = tuple(sorted(reads))
        self.kept: dict[int, dict[str, list[Tensor]]] = {}
        self.example: dict[str, list[Tensor]] = {}  # the teacher's own answer about a view
        self.recalled: dict[str, list[Tensor]] = {}

    @property
    def network(self) -> Segmenter:
        """The teacher's."""
        return self.teacher.network

    @property
    def classes(self) -> Sequence[str] | None:
        """The teacher's, where they are known."""
        return self.teacher.classes

    def recall(self, batch: Mapping[str, Any]) -> None:
        """Cut the answers about a batch that `ViewedDataset` samples make up; see `collate`.

        Raises:
            ValueError: the answers about all images need more memory than there is.
        """
        views = batch["image"]
        if not self.example:
            self.example = self._maps(self.teacher(views[:1], self.reads))
        answers = [self._answer(index, views.device) for index in batch["index"]]
        self.recalled = {
            name: [
                _cut([answer[name][stage] for answer in answers], batch["view"], like)
                for stage, like in enumerate(maps)
            ]
            for name, maps in self.example.items()
        }

    def __call__(self, images: Tensor, reads: Collection[str]) -> Intermediates:
        """Return what `recall` has cut; `images` (B, 3, H, W) uint8 are the views it was given."""
        assert set(reads) <= set(self.reads), reads
        maps: dict[str, Any] = {
            name: found[0] if name in SINGLE else found for name, found in self.recalled.items()
        }
        return replace(Intermediates(images, None), **maps)

    def _answer(self, index: int, device: torch.device) -> dict[str, list[Tensor]]:
        """The teacher's maps (C, h, w) of a whole image, in main memory."""
        if index not in self.kept:
            image = self.images[index]["image"].to(device)
            maps = self._maps(self.teacher(image[None], self.reads))
            self.kept[index] = {
                name: [each[0].to("cpu", torch.float16) for each in found]
                for name, found in maps.items()
            }
            if len(self.kept) == 1:
                self._check_memory(self.kept[index])
        return self.kept[index]

    def _maps(self, answer: Intermediates) -> dict[str, list[Tensor]]:
        return {name: maps_of(answer, name) for name in self.reads}

    def _check_memory(self, answer: Mapping[str, Sequence[Tensor]]) -> None:
        count = len(cast(Sized, self.images))
        need = count * sum(each.nbytes for maps in answer.values() for each in maps)
        free = LARGEST_SHARE * psutil.virtual_memory().available
        if need > free:
            raise ValueError(
                f"--kd-cache: the teacher's answers about {count} images take {need / 1e9:.1f} GB, "
                f"more than {LARGEST_SHARE:.0%} of the free memory, {free / 1e9:.1f} GB: leave it "
                "out, or take a --method that reads logits alone"
            )


def _cut(maps: Sequence[Tensor], views: Tensor, like: Tensor) -> Tensor:
    """Cut B views out of B maps (C, h, w), to the size, type and device of an example (*, h, w)."""
    size = (like.shape[-2], like.shape[-1])
    pairs = zip(maps, views, strict=True)
    cut = [cut_view(each.to(like.device).float(), view, size) for each, view in pairs]
    return torch.stack(cut).to(like.dtype)
