"""From images to logits and class maps: inference shared by evaluation and prediction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from conventions.preprocessing import STRIDE, Preprocessing
from datasets.transforms import normalize
from models.encoder import MIN_SIZE


@dataclass(frozen=True)
class Inference:
    """How images are run through the network; by default once, as a whole.

    Attributes:
        window: (height, width) of a sliding window, multiples of `STRIDE`; None for whole images.
        overlap: share of the window, in [0, 1), that neighbouring windows have in common.
        scales: scales of the image over which logits are averaged.
        flip: also average over the horizontal flip at every scale.
    """

    window: tuple[int, int] | None = None
    overlap: float = 0.25
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __str__(self) -> str:
        parts = ["whole"]
        if self.window is not None:
            parts = [f"slide {self.window[0]}x{self.window[1]}, overlap {self.overlap:g}"]
        if self.scales != (1.0,):
            parts.append(f"scales {' '.join(f'{scale:g}' for scale in self.scales)}")
        return ", ".join([*parts, "mirrored"] if self.flip else parts)


WHOLE = Inference()
Network = Callable[[Tensor], Tensor]  # float images (B, 3, H, W) -> logits (B, K, h, w)


def predict_logits(
    model: Network,
    images: Tensor,
    preprocessing: Preprocessing,
    size: Sequence[int] | None = None,
    inference: Inference = WHOLE,
) -> Tensor:
    """Return the logits of images.

    Images with a side below `MIN_SIZE` are padded by replicating the last row and column, and the
    logits of the padding are cropped.

    Args:
        model: network in `eval()` mode, on the device of `images`.
        images: (B, 3, H, W) uint8 RGB.
        preprocessing: of the checkpoint; only mean and standard deviation are used.
        size: (H', W') to upsample to, bilinearly; None keeps the network's output resolution.
        inference: whole images or sliding windows, and the views that are averaged.

    Returns:
        (B, K, h, w) float32, whatever precision autocast ran the network in.
    """
    images = normalize(images, preprocessing)
    grid = [-(-side // STRIDE) for side in images.shape[-2:]]
    views = []
    for scale, flip in product(inference.scales, (False, True) if inference.flip else (False,)):
        view = _scale(images, scale)
        logits = _view_logits(model, view.flip(-1) if flip else view, inference)
        logits = logits.flip(-1) if flip else logits
        views.append(logits if scale == 1 else _resize(logits, grid))
    logits = sum(views[1:], start=views[0]) / len(views)
    return logits if size is None else _resize(logits, size)


def predict_labels(
    model: Network,
    images: Tensor,
    preprocessing: Preprocessing,
    size: Sequence[int] | None = None,
    inference: Inference = WHOLE,
) -> Tensor:
    """Return the class maps of images: (B, H', W') uint8 of the given size.

    The arguments are those of `predict_logits`.
    """
    logits = predict_logits(model, images, preprocessing, inference=inference)
    return upsample_argmax(logits, size)


def upsample_argmax(logits: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Return `interpolate(logits, size).argmax(1)` without storing all upsampled logits.

    Classes are upsampled one by one and compared with a running maximum, which needs three
    full-size maps instead of K, and a third of the time of an argmax that strides across K planes.

    Args:
        logits: (B, K, h, w), K at most 256.
        size: (H', W'), or None for (h, w).

    Returns:
        (B, H', W') uint8; the lowest class on ties, like argmax.
    """
    logits = logits.float()
    best = _resize(logits[:, :1], size)
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=logits.device)
    for index in range(1, logits.shape[1]):
        plane = _resize(logits[:, index : index + 1], size)
        # Class indices ascend, so a maximum equals a masked write, and is several times faster.
        torch.maximum(labels, (plane > best).view(torch.uint8).mul_(index), out=labels)
        best = torch.maximum(best, plane)
    return labels[:, 0]


def _view_logits(model: Network, images: Tensor, inference: Inference) -> Tensor:
    """Return the float32 logits (B, K, h, w) of normalised images, whole or by windows."""
    height, width = images.shape[-2:]
    window = inference.window
    if window is None or (height <= window[0] and width <= window[1]):
        return _network_logits(model, images)
    return _slide(model, images, window, inference.overlap)


def _network_logits(model: Network, images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    missing = max(MIN_SIZE - height, 0), max(MIN_SIZE - width, 0)
    if not any(missing):
        return model(images).float()
    images = F.pad(images, (0, missing[1], 0, missing[0]), mode="replicate")
    logits = model(images).float()
    cells = (
        -(-side * grid // padded)  # rounded up
        for side, grid, padded in zip(
            (height, width), logits.shape[-2:], images.shape[-2:], strict=True
        )
    )
    rows, columns = cells
    return logits[..., :rows, :columns]


def _slide(model: Network, images: Tensor, window: tuple[int, int], overlap: float) -> Tensor:
    """Average the logits of overlapping windows, on the grid of the whole image's logits.

    Windows start at multiples of `STRIDE`, so that their cells align with that grid and nothing
    is interpolated. The weight of a cell grows with its distance from the border of the window,
    where the network has least context. Only the image and the logits have full size; the
    network's feature maps never take more memory than one window needs.
    """
    height, width = images.shape[-2:]
    grid = (-(-height // STRIDE), -(-width // STRIDE))
    cells = tuple(min(side // STRIDE, g) for side, g in zip(window, grid, strict=True))
    weight = _tent(cells[0])[:, None] * _tent(cells[1])
    weight = weight.to(images.device)
    total: Tensor | None = None
    weights = images.new_zeros(grid)
    starts = (_starts(g, c, overlap) for g, c in zip(grid, cells, strict=True))
    for top, left in product(*map(list, starts)):
        bottom, right = top + cells[0], left + cells[1]
        part = images[..., STRIDE * top : STRIDE * bottom, STRIDE * left : STRIDE * right]
        logits = _network_logits(model, part)
        assert logits.shape[-2:] == cells, "a network's logits are on a grid of 4 x 4 pixels"
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], *grid)
        total[..., top:bottom, left:right] += logits * weight
        weights[top:bottom, left:right] += weight
    assert total is not None
    return total.div_(weights)


def _starts(length: int, window: int, overlap: float) -> Iterator[int]:
    """Yield the start cells of evenly spaced windows along a side, with at least the overlap."""
    if length <= window:
        yield 0
        return
    step = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // step) + 1
    for index in range(count):
        yield index * (length - window) // (count - 1)


def _tent(length: int) -> Tensor:
    """Weights that rise linearly from either end to 1 in the middle; all positive."""
    distance = torch.arange(length) + 0.5
    return torch.minimum(distance, length - distance) / (length / 2)


def _scale(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return F.interpolate(
        images, size=size, mode="bilinear", align_corners=False, antialias=scale < 1
    )


def _resize(maps: Tensor, size: Sequence[int] | None) -> Tensor:
    if size is None or tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps.contiguous(), size=tuple(size), mode="bilinear", align_corners=False)
