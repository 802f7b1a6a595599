"""Segmentation scores from one confusion matrix."""

from typing import Any

import torch
from torch import Tensor


class SegmentationMetrics:
    """Confusion matrix over a whole split, and the scores that follow from it.

    The matrix is exact (int64 counts, never an average over images), so that the scores do not
    depend on the batch size or on the number of processes.

    Attributes:
        matrix: (K, K) int64 on the CPU, rows the label, columns the prediction. Matrices of several
            processes or subsets may simply be added.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        """Start from an empty matrix.

        Raises:
            ValueError: class count outside 1..254 or ignore index outside 0..255, since label maps
                are bytes.
        """
        if not 1 <= num_classes <= 254:
            raise ValueError(f"num_classes {num_classes}: a label map holds 1 to 254 classes")
        if not 0 <= ignore_index <= 255:
            raise ValueError(f"ignore_index {ignore_index}: a label map holds values 0 to 255")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count the pixels of one batch or image.

        Args:
            prediction: (B, H, W) or (H, W), any integer type, class indices.
            label: same shape; pixels equal to the ignore index are left out.

        Raises:
            ValueError: sizes differ, or a label or prediction lies outside the class list.
        """
        if prediction.shape != label.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in size"
            )
        classes = self.num_classes
        prediction = _as_bytes(prediction, "prediction")
        label = _as_bytes(label, "label").to(prediction.device)
        # One spare column and row catch what is out of range, one more row what is ignored: the
        # range check and the mask then cost byte operations only, and one int32 map is the only
        # full-size copy that is wider than a byte.
        rows = label.clamp(max=classes).masked_fill_(label == self.ignore_index, classes + 1)
        pairs = rows.to(torch.int32).mul_(classes + 1).add_(prediction.clamp(max=classes))
        counts = torch.bincount(pairs.flatten(), minlength=(classes + 2) * (classes + 1))
        counts = counts.view(classes + 2, classes + 1).cpu()
        if counts[classes].any():
            self._refuse(label[label != self.ignore_index], "label")
        if counts[:, classes].any():
            self._refuse(prediction, "prediction")
        self.matrix += counts[:classes, :classes]

    def _refuse(self, values: Tensor, what: str) -> None:
        value, count = values[values >= self.num_classes].unique(return_counts=True)
        found = ", ".join(f"{v} ({c} pixels)" for v, c in zip(value.tolist(), count.tolist()))
        raise ValueError(
            f"{what} values outside the {self.num_classes} classes: {found}; "
            f"only {self.ignore_index} is ignored"
        )

    def compute(self) -> dict[str, Any]:
        """Return the scores so far, as fractions in 0..1.

        A class that occurs neither in the labels nor in the predictions has IoU None and is left
        out of the mean; a class that was only predicted counts as 0.

        Returns:
            ``miou``, ``per_class`` (list of float or None), ``pixel_accuracy``, ``mean_accuracy``
            (over the classes that occur in the labels), ``fwiou`` (IoU weighted by the class's
            share of the labelled pixels).

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
        iou = hit / union  # nan where the class is absent
        return {
            "miou": iou[union > 0].mean().item(),
            "per_class": [v if u > 0 else None for v, u in zip(iou.tolist(), union.tolist())],
            "pixel_accuracy": (hit.sum() / total).item(),
            "mean_accuracy": (hit / labelled)[labelled > 0].mean().item(),
            "fwiou": (labelled * iou)[labelled > 0].sum().div(total).item(),
        }


def _as_bytes(values: Tensor, what: str) -> Tensor:
    """Return the map as uint8, refusing what would wrap around."""
    if values.dtype == torch.uint8:
        return values
    if values.dtype.is_floating_point or values.dtype == torch.bool:
        raise ValueError(f"{what} map is {values.dtype}: expected integers")
    if values.numel():
        low, high = (bound.item() for bound in values.aminmax())
        if low < 0 or high > 255:
            raise ValueError(f"{what} values run from {low} to {high}: expected 0 to 255")
    return values.to(torch.uint8)
