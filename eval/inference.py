"""From images to logits and class maps: the one path that evaluation and prediction share."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.transforms import normalize


def predict_logits(
    model: nn.Module,
    images: Tensor,
    preprocessing: dict[str, Any],
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Return the logits of whole images.

    Args:
        model: network in ``eval()`` mode, on the device of ``images``.
        images: (B, 3, H, W) uint8 RGB.
        preprocessing: of the checkpoint; ``mean`` and ``std`` (3 numbers each, of images in 0..1).
        size: (H', W') to upsample to, bilinearly; None leaves the network's own resolution.

    Returns:
        (B, K, h, w) float32, whatever precision autocast ran the network in.
    """
    logits = model(normalize(images, preprocessing["mean"], preprocessing["std"])).float()
    return logits if size is None else _resize(logits, size)


def predict_labels(
    model: nn.Module,
    images: Tensor,
    preprocessing: dict[str, Any],
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Return the class maps of whole images: (B, H', W') uint8 of the given size.

    Arguments are those of `predict_logits`.
    """
    return upsample_argmax(predict_logits(model, images, preprocessing), size)


def upsample_argmax(logits: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return ``interpolate(logits, size).argmax(1)`` without holding the upsampled logits.

    Classes are upsampled one by one against a running maximum, which takes three maps of full
    size in place of K, and a third of the time of an argmax that strides across K planes.

    Args:
        logits: (B, K, h, w), K at most 256.
        size: (H', W'), or None for (h, w).

    Returns:
        (B, H', W') uint8; on ties the lowest class, as argmax.
    """
    logits = logits.float()
    best = _resize(logits[:, :1], size)
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=logits.device)
    for index in range(1, logits.shape[1]):
        plane = _resize(logits[:, index : index + 1], size)
        # Classes come in rising order, so a maximum writes what a mask would, several times faster.
        torch.maximum(labels, (plane > best).view(torch.uint8).mul_(index), out=labels)
        best = torch.maximum(best, plane)
    return labels[:, 0]


def _resize(maps: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None or tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps.contiguous(), size=tuple(size), mode="bilinear", align_corners=False)
