"""The geometry of a training view in its image, and sampling maps of the image in that view."""

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
    """Compute the affine map from a view's coordinates to those of its image.

    Args:
        target: size that the image was resized to, (height, width).
        corner: top left of the window in the resized image.
        window: size of the window.
        angle: rotation of the window about its centre, counter-clockwise, in degrees.
        crop: size of the view, the centre of the rotated window.
        flipped: whether the crop was then flipped horizontally.

    Returns:
        (2, 3), a `theta` for `torch.nn.functional.affine_grid`: it maps normalised coordinates of
        the view, -1 to 1 in x and y, to those of the image, independent of the resolution.
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
    """Sample a view from a map of the whole image, (C, h, w) to (C, *size).

    Beyond the centres of the outermost cells, the border values are repeated.
    """
    grid = F.affine_grid(view[None], [1, len(maps), *size], align_corners=False)
    # Equivalent to padding_mode="border", which not every device supports.
    last = 1 - 1 / grid.new_tensor([maps.shape[-1], maps.shape[-2]])
    grid = grid.clamp(-last, last)
    return F.grid_sample(maps[None], grid, align_corners=False)[0]


class ViewedDataset(Dataset[Sample]):
    """Random views of images, with the index of the image and the geometry of the view.

    `dataset[i]` is a sample with additional `index`, i, and `view`; see `view_of`.

    Args:
        images: untransformed samples.
        transform: maps image and label, uint8 (3, H, W) and (H, W), to image, label and view.
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
