"""Scores per image: how much a result varies, and on which images it is worst."""

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from command_line.outputs import replacing
from conventions.labels import VOID
from eval.metrics import SegmentationMetrics


class ImageCounts:
    """Pixels in the intersection and union of prediction and label, per image and class.

    Both a metric and an observer for `eval.evaluator.evaluate`, which passes each batch and then
    the name of each image. Sums over images give the scores of the whole split.

    Args:
        num_classes: K.
        ignore_index: label value that is not counted.
    """

    def __init__(self, num_classes: int, ignore_index: int = VOID) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.names: list[str] = []
        self.matrices: list[Tensor] = []

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count class maps (B, H, W), separately per image."""
        for one, known in zip(prediction, label, strict=True):
            metrics = SegmentationMetrics(self.num_classes, self.ignore_index)
            metrics.update(one, known)
            self.matrices.append(metrics.matrix)

    def __call__(self, name: str, prediction: Tensor) -> None:
        """Record the name of an image that was counted."""
        self.names.append(name)

    @property
    def counts(self) -> np.ndarray:
        """(images, 2, K) int64: pixels in the intersection, and in the union."""
        matrices = torch.stack(self.matrices)
        common = matrices.diagonal(dim1=1, dim2=2)
        union = matrices.sum(1) + matrices.sum(2) - common
        scored = torch.arange(self.num_classes) != self.ignore_index
        return torch.stack((common, union), dim=1)[:, :, scored].numpy()

    def write(self, path: Path, classes: tuple[str, ...]) -> None:
        """Write a CSV file: per image the mIoU, and intersection and union per class."""
        columns = [f"{name} {what}" for what in ("common", "union") for name in classes]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "miou", *columns])
            for name, counts in zip(self.names, self.counts, strict=True):
                rows.writerow([name, f"{mean_iou(counts):.6f}", *counts.reshape(-1)])


def read_counts(path: Path) -> tuple[list[str], np.ndarray]:
    """Read a file of `ImageCounts.write`: names, and counts (images, 2, K) int64."""
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    counts = np.array([row[2:] for row in rows], dtype=np.int64)
    return [row[0] for row in rows], counts.reshape(len(rows), 2, -1)


def mean_iou(counts: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Compute mIoU from counts (..., 2, K), as a mean over the classes that occur.

    It is nan if no class occurs, in an image that is all void.

    Args:
        counts: pixels in intersection and union.
        among: (K,) bool, classes that may count; None for all.
    """
    common, union = counts[..., 0, :], counts[..., 1, :]
    occurs = union > 0 if among is None else (union > 0) & among
    ious = np.divide(common, union, out=np.zeros(union.shape), where=occurs)
    classes = occurs.sum(-1)
    return np.divide(ious.sum(-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)
