"""Masks that leave void (unlabelled pixels and padding) out of a loss.

A teacher's output on padding or on unlabelled pixels is not worth learning. A cell of a map counts
as labelled if at least half of the pixels that it covers are.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from conventions.labels import VOID

LEAST_LABELLED = 0.5  # minimum share of a cell's pixels
LEFT_OUT = -1e9  # a score that softmax maps to 0


def labelled(labels: Tensor | None, size: Sequence[int]) -> Tensor | None:
    """Return the mask of labelled cells in maps of `size`, float (B, 1, h, w) of 0 and 1.

    Args:
        labels: class ids (B, H, W), 255 for void; None if there are none: all cells count.
        size: (h, w) of the maps.
    """
    if labels is None:
        return None
    known = (labels != VOID).float().unsqueeze(1)
    return (F.adaptive_avg_pool2d(known, (size[0], size[1])) >= LEAST_LABELLED).float()


def labels_at(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Class ids (B, h, w) of the pixels nearest to the cells' centres, int64."""
    if labels.shape[-2:] == tuple(size):
        return labels.long()
    return F.interpolate(labels.unsqueeze(1).float(), list(size), mode="nearest-exact")[:, 0].long()


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over batch, channels and labelled cells; 0 if there are none.

    Args:
        values: (B, C, h, w).
        mask: result of `labelled`; None counts all cells.
    """
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp_min(1)


def mean_over_images(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of values (B, ...) over the images that have a labelled cell; 0 if there are none.

    Args:
        values: of each image, such as relations between its channels.
        mask: result of `labelled`; None counts all images.
    """
    images = values.flatten(1).mean(1)[:, None, None, None]
    return masked_mean(images, None if mask is None else mask.amax((2, 3), keepdim=True))


def masked_mse(student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
    """MSE of maps (B, C, h, w) over labelled cells, in float32."""
    if labels is None:
        return F.mse_loss(student.float(), teacher.float())
    squares = (student.float() - teacher.float()).square()
    return masked_mean(squares, labelled(labels, student.shape[-2:]))
