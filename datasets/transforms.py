"""Joint transforms of image and label; padding of the image is void in the label.

All randomness comes from torch's global generator, so that a seed reproduces a sample.
Images stay uint8: `normalize` runs on the device, on whole batches.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from conventions.labels import VOID
from conventions.preprocessing import IMAGENET_MEAN, STRIDE, ImageSize, Preprocessing
from datasets.colours import ColourTwist
from datasets.views import view_of

# Pad with the mean colour, which is 0 after normalisation.
FILL = tuple(round(255 * channel) for channel in IMAGENET_MEAN)

Size = tuple[int, int]


class TrainTransform:
    """Random scale, rotation, shift, crop, flip and colours, with the same geometry for both.

    Only the part of the image that ends up in the crop is resized, and only once.

    Args:
        image_size: size at scale 1: None (the image's own), its short side, or (height, width).
        crop_size: side of a square crop, or (height, width); None for the size at scale 1.
        scale_range: bounds of the uniform random scale.
        flip: flip horizontally with probability 0.5.
        rotate: largest angle in either direction, in degrees.
        photometric: change brightness, contrast, saturation and hue.
        shift: largest shift in each direction, in pixels of the crop.
    """

    def __init__(
        self,
        image_size: ImageSize,
        crop_size: int | Size | None,
        scale_range: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        rotate: float = 0,
        photometric: bool = True,
        shift: int = 0,
    ) -> None:
        self.image_size = image_size
        self.crop_size = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
        self.scale_range = scale_range
        self.flip = flip
        self.rotate = rotate
        self.colours = ColourTwist() if photometric else None
        self.shift = shift

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (3, H, W) and (H, W) to a crop of both."""
        image, label, _ = self.with_view(image, label)
        return image, label

    def with_view(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the crop of both, and its geometry in the image; see `datasets.views.view_of`."""
        base = scaled_size(image.shape[-2:], self.image_size)
        crop = self.crop_size or base
        scale = _uniform(*self.scale_range)
        target = _pair(max(1, round(side * scale)) for side in base)
        angle = _uniform(-self.rotate, self.rotate) if self.rotate else 0.0
        # A rotated crop needs pixels from outside the crop: take a larger window, rotate it, and
        # cut the crop out of its centre.
        window = _circumscribed(crop, angle) if angle else crop
        corner = [
            _random_offset(t, c) - (w - c) // 2
            for t, c, w in zip(target, crop, window, strict=True)
        ]
        if self.shift:
            corner = [c + _randint(-self.shift, self.shift) for c in corner]
        image, label = resized_window(image, label, target, corner, window)
        if angle:
            image, label = _rotated(image, label, angle, crop)
        flipped = self.flip and bool(torch.rand(()) < 0.5)
        if flipped:
            image, label = image.flip(-1), label.flip(-1)
        if self.colours is not None:
            image = self.colours(image)
        view = view_of(target, corner, window, angle, crop, flipped)
        return image.contiguous(), label.contiguous(), view


class EvalTransform:
    """Resize the image but not the label: predictions are evaluated at the label's own size.

    Args:
        image_size: None (the image's own), its short side, or (height, width).
    """

    def __init__(self, image_size: ImageSize) -> None:
        self.image_size = image_size

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (3, H, W) and (H, W) to the resized image and the same label."""
        return self.resize(image), label

    def resize(self, image: Tensor) -> Tensor:
        """Resize an image, uint8 (3, H, W)."""
        return _resize_image(image, scaled_size(image.shape[-2:], self.image_size))


class PaperTransform:
    """Preprocessing of the published results: `--protocol paper`.

    The image is resized to height x width, the label to a quarter of that by nearest neighbour, and
    void becomes the last of `outputs` ids. In training, both are flipped with probability 0.5 and
    shifted by up to 2 px at the image's resolution, before the label is downscaled (the published
    code shifts the small label by as many pixels as the image). Normalise with `UNNORMALISED`.
    """

    MAX_SHIFT = 2

    def __init__(self, height: int, width: int, train: bool, outputs: int) -> None:
        self.size = (height, width)
        self.label_size = (math.ceil(height / 4), math.ceil(width / 4))
        self.train = train
        self.outputs = outputs

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (3, H, W) and (H, W) to (3, height, width) and a label of a quarter of that."""
        image = _resize_image(image, self.size)
        shift: Size = (0, 0)
        if self.train:
            if torch.rand(()) < 0.5:
                image, label = image.flip(-1), label.flip(-1)
            shift = _pair(_randint(-self.MAX_SHIFT, self.MAX_SHIFT) for _ in range(2))
            image = F.crop_image(image, *shift, *self.size)  # pads with black
        label = self._shrink(label, shift)
        label = label.where(label != VOID, torch.tensor(self.outputs - 1, dtype=label.dtype))
        return image.contiguous(), label

    def _shrink(self, label: Tensor, shift: Size) -> Tensor:
        """Sample the original label at the centre of each cell, in one step.

        Resizing to the image's size first would round twice, and move one pixel in eight.
        """
        picked, outside = [], []
        for side, size, cells, offset in zip(
            label.shape, self.size, self.label_size, shift, strict=True
        ):
            middles = (torch.arange(cells) + 0.5) * (size / cells) + offset  # in the image's pixels
            outside.append((middles < 0) | (middles >= size))
            picked.append((middles * (side / size)).long().clamp(0, side - 1))
        rows, columns = picked
        small = label[rows][:, columns]
        return small.masked_fill(outside[0][:, None] | outside[1], VOID)


def scaled_size(size: Sequence[int], image_size: ImageSize) -> Size:
    """Compute the (height, width) that an image of `size` is resized to; see `EvalTransform`.

    A short side is approximate: both sides become multiples of `STRIDE`. Otherwise the last cells
    of the logits would extend beyond the image, and upsampled predictions would be slightly off.
    """
    if image_size is None:
        return _pair(size)
    if isinstance(image_size, int):
        cells = image_size / min(size) / STRIDE
        return _pair(STRIDE * max(1, round(side * cells)) for side in size)
    return _pair(image_size)


def resized_window(
    image: Tensor, label: Tensor, target: Size, corner: Sequence[int], window: Size
) -> tuple[Tensor, Tensor]:
    """Crop a window from an image resized to `target`, resizing only the visible part.

    Args:
        image: uint8 (3, H, W).
        label: uint8 (H, W).
        target: virtual size of the whole resized image.
        corner: top left of the window in the resized image; may be outside it.
        window: size of the window; outside the image it is padded with the fill colour and void.
    """
    seen, source, before = [], [], []
    for side, size, start, length in zip(image.shape[-2:], target, corner, window, strict=True):
        low, high = max(start, 0), min(start + length, size)
        first = min(round(low * side / size), side - 1)
        last = max(round(high * side / size), first + 1)
        seen.append(max(high - low, 0))
        source.append(slice(first, last))
        before.append(low - start)
    image, label = image[:, source[0], source[1]], label[source[0], source[1]]
    if tuple(seen) == tuple(window):
        return _resize_image(image, window), _resize_label(label, window)
    canvas = image.new_tensor(FILL)[:, None, None].repeat(1, *window)
    canvas_label = label.new_full(window, VOID)
    if all(seen):
        inside = tuple(slice(b, b + s) for b, s in zip(before, seen, strict=True))
        canvas[(slice(None), *inside)] = _resize_image(image, seen)
        canvas_label[inside] = _resize_label(label, seen)
    return canvas, canvas_label


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch.

    Returns:
        `image` uint8 (B, 3, H, W) and `label` uint8 (B, H, W), each a list if sizes differ, and
        `name`, a list; `replaced` counts the images that replace unreadable ones. `index`, a list,
        and `view`, (B, 2, 3), if the samples have them.
    """
    images = [sample["image"] for sample in samples]
    labels = [sample["label"] for sample in samples]
    batch = {
        "image": _stack(images),
        "label": _stack(labels),
        "name": [sample["name"] for sample in samples],
        "replaced": sum(sample.get("replaced", 0) for sample in samples),
    }
    if all("view" in sample for sample in samples):
        batch["index"] = [sample["index"] for sample in samples]
        batch["view"] = torch.stack([sample["view"] for sample in samples])
    return batch


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Compute (images / 255 - mean) / std in float32 for uint8 (..., 3, H, W), on their device."""
    mean, std = (
        torch.as_tensor(values, dtype=torch.float32, device=images.device)[:, None, None] * 255
        for values in (preprocessing.mean, preprocessing.std)
    )
    return images.to(torch.float32, copy=True).sub_(mean).div_(std)


def _stack(tensors: list[Tensor]) -> Tensor | list[Tensor]:
    return torch.stack(tensors) if len({tensor.shape for tensor in tensors}) == 1 else tensors


def _resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.resize_image(image, list(size), InterpolationMode.BILINEAR, antialias=True)


def _resize_label(label: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(label.shape) == tuple(size):
        return label
    # NEAREST_EXACT samples pixel centres, as bilinear does; NEAREST is half a pixel off.
    return F.resize_image(label[None], list(size), InterpolationMode.NEAREST_EXACT)[0]


def _rotated(image: Tensor, label: Tensor, angle: float, crop: Size) -> tuple[Tensor, Tensor]:
    """Rotate about the centre, and cut out the centre crop."""
    height, width = label.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] -= np.array(((width - crop[1]) / 2, (height - crop[0]) / 2))
    # OpenCV here: torchvision rotates through a float sampling grid, which takes ten times as long.
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    pixels = cv2.warpAffine(pixels, matrix, crop[::-1], flags=cv2.INTER_LINEAR, borderValue=FILL)
    ids = np.ascontiguousarray(label.numpy())
    ids = cv2.warpAffine(ids, matrix, crop[::-1], flags=cv2.INTER_NEAREST, borderValue=VOID)
    return torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(ids)


def _circumscribed(crop: Size, angle: float) -> Size:
    """Size of the upright rectangle around a rotated crop; exceeds each side by an even number."""
    sin, cos = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    height, width = crop
    around = (height * cos + width * sin, height * sin + width * cos)
    return _pair(
        side + 2 * max(0, math.ceil((need - side) / 2))
        for side, need in zip(crop, around, strict=True)
    )


def _random_offset(size: int, crop: int) -> int:
    """Draw the offset of a crop along a side; negative if the crop is longer than the side."""
    return _randint(min(0, size - crop), max(0, size - crop))


def _randint(low: int, high: int) -> int:
    """Draw an integer from low to high, inclusive."""
    return int(torch.randint(low, high + 1, ()))


def _pair(values: Iterable[int]) -> Size:
    height, width = values
    return height, width


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
