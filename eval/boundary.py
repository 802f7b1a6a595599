"""Boundary IoU: how well outlines agree (Cheng et al., CVPR 2021, equation 2)."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from conventions.labels import VOID

RATIO = 0.02  # of the image's diagonal, as published for photographs


class BoundaryMetrics:
    """IoU per class over those pixels of the masks that are near their outline.

    Pixels within d px of the outline count, where d is a share of the image's diagonal and the
    borders of the image and of void areas are outlines. For leaves thinner than 2 d this is every
    pixel, and Boundary IoU equals IoU: use a smaller share. Intersections and unions are summed
    over the split, as for mIoU.

    Attributes:
        intersections, unions: int64, per class except the ignored one.
    """

    def __init__(self, num_classes: int, ignore_index: int = VOID, ratio: float = RATIO) -> None:
        self.ignore_index = ignore_index
        self.ratio = ratio
        self.classes = [index for index in range(num_classes) if index != ignore_index]
        self.intersections = torch.zeros(len(self.classes), dtype=torch.int64)
        self.unions = torch.zeros(len(self.classes), dtype=torch.int64)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch: class indices (B, H, W), of the same size."""
        for predicted, labelled in zip(prediction, label, strict=True):
            predicted, labelled = (maps.cpu().numpy() for maps in (predicted, labelled))
            valid = labelled != self.ignore_index
            distance = max(1, round(self.ratio * math.hypot(*labelled.shape)))
            for index, class_id in enumerate(self.classes):
                ours = _rim((predicted == class_id) & valid, distance)
                theirs = _rim(labelled == class_id, distance)
                self.intersections[index] += int(np.count_nonzero(ours & theirs))
                self.unions[index] += int(np.count_nonzero(ours | theirs))

    def compute(self) -> dict[str, Any]:
        """Return `miou` and `per_class`, like `SegmentationMetrics.compute`, and `ratio`."""
        iou = self.intersections / self.unions  # nan where the class is absent
        return {
            "miou": iou.nanmean().item(),
            "per_class": [None if math.isnan(value) else value for value in iou.tolist()],
            "ratio": self.ratio,
        }


def _rim(mask: np.ndarray, distance: int) -> np.ndarray:
    """Return the pixels of a mask (H, W) bool within a distance of its outline.

    It is the Chebyshev distance, as in the published code, which erodes by 3 x 3 squares.
    """
    if not mask.any():
        return mask
    # Pad with zeros: the image border ends every mask.
    padded = np.pad(mask.astype(np.uint8), 1)
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    inner = cv2.erode(padded, square)[1:-1, 1:-1]
    return mask & (inner == 0)
