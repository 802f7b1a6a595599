"""Augmentations that mix the images of a batch: CutMix, and copy-paste of plants.

All randomness comes from torch's global CPU generator, so that a seed reproduces a batch.
"""

import torch
from torch import Tensor

from conventions.labels import UNLABELLED


class BatchMixing:
    """Pastes a part of the previous image of the batch, with its labels, into each image.

    Args:
        cutmix: probability per image of pasting a rectangle (Yun et al., ICCV 2019; for
            segmentation French et al., BMVC 2020). Its share of the area is uniform in [0, 1].
        copy_paste: probability per image of pasting all plants (Ghiasi et al., CVPR 2021): the
            pixels of every class except void and the first, which is the ground. Nothing is
            pasted from unlabelled images.
    """

    def __init__(self, cutmix: float = 0.0, copy_paste: float = 0.0) -> None:
        self.cutmix = cutmix
        self.copy_paste = copy_paste

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images (B, 3, H, W) and labels (B, H, W); the inputs are not modified."""
        if self.copy_paste:
            ids = labels.roll(1, 0)
            taken = (ids != 0) & (ids < UNLABELLED)  # void is above it
            images, labels = paste(images, labels, taken & self._drawn(self.copy_paste, labels))
        if self.cutmix:
            rectangles = torch.stack([rectangle(labels.shape[-2:]) for _ in labels])
            taken = rectangles.to(labels.device) & self._drawn(self.cutmix, labels)
            images, labels = paste(images, labels, taken)
        return images, labels

    @staticmethod
    def _drawn(probability: float, labels: Tensor) -> Tensor:
        """Draw which images of the batch are mixed, bool (B, 1, 1)."""
        return (torch.rand(len(labels)) < probability).to(labels.device)[:, None, None]


def paste(images: Tensor, labels: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
    """Take pixels where `taken` (B, H, W) from the previous image, cyclically."""
    return (
        torch.where(taken.unsqueeze(1), images.roll(1, 0), images),
        torch.where(taken, labels.roll(1, 0), labels),
    )


def rectangle(size: torch.Size) -> Tensor:
    """A random rectangle with the image's aspect ratio, bool (H, W), clipped at the borders."""
    share, *centre = torch.rand(3).tolist()
    spans = []
    for length, middle in zip(size, centre, strict=True):
        positions = torch.arange(length) + 0.5
        spans.append((positions - middle * length).abs() < share**0.5 * length / 2)
    return spans[0][:, None] & spans[1]
