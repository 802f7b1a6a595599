"""Where a training view lies in its image, and what a map of the image looks like there."""

import math
from collections.abc import Callable, Sequence, Sized
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from datasets.base import Sample

Size = tuple[int, int]


def view_of(
    target: Size, corner: Sequence[int], window: Size, angle: float, crop: Size, flipped: bool
) -> Tensor:
    """Say where in an image a view's pixels come from.

    Args:
        target: size that the image was resized to, (height, width).
        corner: top left of the window in the resized image.
        window: size of the window.
        angle: by which it was turned about its middle, counter-clockwise, in degrees.
        crop: size of the view, the middle of what was turned.
        flipped: whether it was mirrored from left to right after that.

    Returns:
        (2, 3), a `theta` of `torch.nn.functional.affine_grid`: it maps the view, from -1 to 1 in
        x and y, to the image, likewise, whatever the resolution of a map of it.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    height, width = (side / 2 for side in crop)
    mirror = -1.0 if flipped else 1.0
    pixels = torch.tensor(
        [
            [mirror * cos * width, -sin * height, corner[1] + window[1] / 2],
            [mirror * sin * width, cos * height, corner[0] + window[0] / 2],
        ],
        dtype=torch.float64,
    )
    view = pixels * 2 / torch.tensor([target[1], target[0]])[:, None]
    view[:, 2] -= 1
    return view.float()


def cut_view(maps: Tensor, view: Tensor, size: Size) -> Tensor:
    """Cut a view out of a map of the whole image, (C, h, w) to (C, *size).

    Outside of the image is what is at its border, as is half a cell within it.
    """
    grid = F.affine_grid(view[None], [1, len(maps), *size], align_corners=False)
    # As padding_mode="border" does, which not every device has.
    last = 1 - 1 / grid.new_tensor([maps.shape[-1], maps.shape[-2]])
    grid = grid.clamp(-last, last)
    return F.grid_sample(maps[None], grid, align_corners=False)[0]


class ViewedDataset(Dataset[Sample]):
    """Random views of images that say which image they show, and where.

    `dataset[i]` is as that of the images, with `index`, i, and `view`; see `view_of`.

    Args:
        images: samples as they are read.
        transform: image and label, uint8 (3, H, W) and (H, W), to those of the view, and the view.
    """

    def __init__(
        self,
        images: Dataset[Sample],
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    ) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(cast(Sized, self.images))

    def __getitem__(self, index: int) -> Sample:
        sample = self.images[index]
        image, label, view = self.transform(sample["image"], sample["label"])
        return {**sample, "image": image, "label": label, "index": index, "view": view}
