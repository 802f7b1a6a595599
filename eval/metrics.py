"""Segmentation scores from one confusion matrix."""

import math
from typing import Any

import torch
from torch import Tensor

from conventions.labels import VOID


class SegmentationMetrics:
    """Confusion matrix over a whole split, and the scores computed from it.

    The matrix is exact (int64 counts, never an average over images), so that the scores do not
    depend on the batch size or on the number of processes.

    Attributes:
        matrix: (K, K) int64 on the CPU, rows are labels, columns predictions. Matrices of several
            processes or subsets can simply be added.
    """

    def __init__(self, num_classes: int, ignore_index: int = VOID) -> None:
        """Start from an empty matrix.

        Raises:
            ValueError: class count outside 1..255 or ignore index outside 0..255, as label maps
                are uint8.
        """
        if not 1 <= num_classes <= 255:
            raise ValueError(f"num_classes {num_classes}: a label map holds 1 to 255 classes")
        if not 0 <= ignore_index <= 255:
            raise ValueError(f"ignore_index {ignore_index}: a label map holds values 0 to 255")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count the pixels of one batch or image.

        Args:
            prediction: (B, H, W) or (H, W), any integer type, class indices.
            label: same shape; pixels equal to the ignore index are not counted.

        Raises:
            ValueError: sizes differ, or a label or prediction is outside the class list.
        """
        if prediction.shape != label.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ"
            )
        classes = self.num_classes
        prediction = _as_bytes(prediction, "prediction")
        label = _as_bytes(label, "label").to(prediction.device)
        # A row per byte value, and a spare column for predictions out of range: no mask is needed,
        # validity is checked on the counts, and a single int32 map is the only full-size copy
        # wider than a byte.
        pairs = label.to(torch.int32).mul_(classes + 1).add_(prediction.clamp(max=classes))
        counts = torch.bincount(pairs.flatten(), minlength=256 * (classes + 1))
        counts = counts.view(256, classes + 1).cpu()
        outside = counts[classes:].sum(1)
        if self.ignore_index >= classes:
            outside[self.ignore_index - classes] = 0
        if outside.any():
            raise self._outside("label", label)
        if counts[:, classes].any():
            raise self._outside("prediction", prediction)
        counts[self.ignore_index] = 0
        self.matrix += counts[:classes, :classes]

    def _outside(self, what: str, values: Tensor) -> ValueError:
        values, counts = values[values >= self.num_classes].unique(return_counts=True)
        found = zip(values.tolist(), counts.tolist(), strict=True)
        ignored = self.ignore_index if what == "label" else None
        listed = ", ".join(f"{v} ({n} pixels)" for v, n in found if v != ignored)
        return ValueError(f"{what} values outside the {self.num_classes} classes: {listed}")

    def compute(self) -> dict[str, Any]:
        """Return the scores so far, as fractions in 0..1.

        A class that occurs neither in the labels nor in the predictions has IoU None and is left
        out of the mean; a class that was only predicted has IoU 0.

        Returns:
            `miou`, `per_class` (list of float or None; without the ignored id, if that is one
            of the K), `pixel_accuracy`, `mean_accuracy` (over the classes that occur in the
            labels), `fwiou` (IoU weighted by the class's share of the labelled pixels).

        Raises:
            ValueError: no labelled pixel was counted.
        """
        matrix = self.matrix.double()
        hit, labelled, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        total = labelled.sum()
        if total == 0:
            raise ValueError(
                f"no labelled pixel to score: every label is the ignore index {self.ignore_index}"
            )
        union = labelled + predicted - hit
        scored = torch.arange(self.num_classes) != self.ignore_index
        hit, labelled, union = hit[scored], labelled[scored], union[scored]
        iou = hit / union  # nan where the class is absent
        return {
            "miou": iou[union > 0].mean().item(),
            "per_class": [None if math.isnan(value) else value for value in iou.tolist()],
            "pixel_accuracy": (hit.sum() / total).item(),
            "mean_accuracy": (hit / labelled)[labelled > 0].mean().item(),
            "fwiou": (labelled * iou)[labelled > 0].sum().div(total).item(),
        }


def _as_bytes(values: Tensor, what: str) -> Tensor:
    """Return the map as uint8; raise on values that would wrap around."""
    if values.dtype == torch.uint8:
        return values
    if values.dtype.is_floating_point or values.dtype == torch.bool:
        raise ValueError(f"{what} map is {values.dtype}: expected integers")
    if values.numel():
        low, high = (bound.item() for bound in values.aminmax())
        if low < 0 or high > 255:
            raise ValueError(f"{what} values run from {low} to {high}: expected 0 to 255")
    return values.to(torch.uint8)
