"""The structural part of SEKD's texture term, with its gradient."""

import torch
import torch.nn.functional as F
from torch import Tensor


def structural_difference(
    student: Tensor, teacher: Tensor, levels: int = 2
) -> tuple[Tensor, Tensor]:
    """Sum of the MSEs between two Laplacian pyramids (Li et al. 2025).

    A level is x - Gx, with a Gaussian blur G; the next one is built from Gx at half the size. The
    residual after the last level counts as well.

    Args:
        student: a map (B, h, w, C).
        teacher: likewise.
        levels: levels of the pyramid, without the residual.

    Returns:
        The scalar, and its gradient (B, h, w, C) with respect to the student's map.
    """
    return _energy(student - teacher, levels)  # the pyramid is linear: one is enough


def _energy(maps: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    if levels == 0:
        return maps.square().mean(), maps * (2 / maps.numel())
    smooth = _blur(maps)
    detail = maps - smooth
    energy, coarse = _energy(_halve(smooth), levels - 1)
    del smooth
    energy = energy + detail.square().mean()
    gradient = detail.mul_(2 / maps.numel())
    # The gradient at the blurred map, from the coarser level and from the detail, is blurred once
    # more: the blur is its own transpose.
    return energy, gradient + _blur(_add_double(-gradient, coarse))


def _blur(maps: Tensor) -> Tensor:
    """5 x 5 Gaussian of sigma 1 with zero padding, per channel, as two 1-D passes."""
    channels = maps.shape[3]
    offsets = torch.arange(-2, 3, device=maps.device, dtype=maps.dtype)
    kernel = torch.softmax(-offsets.square() / 2, 0).view(1, 1, 5, 1).expand(channels, 1, 5, 1)
    maps = maps.permute(0, 3, 1, 2)
    maps = F.conv2d(maps, kernel, padding=(2, 0), groups=channels)
    maps = F.conv2d(maps, kernel.mT, padding=(0, 2), groups=channels)
    return maps.permute(0, 2, 3, 1)


def _halve(maps: Tensor) -> Tensor:
    """2 x 2 average pooling; an odd last row or column is dropped, a side of 1 px is kept."""
    kernel = [min(2, side) for side in maps.shape[1:3]]
    return F.avg_pool2d(maps.permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1)


def _add_double(maps: Tensor, halved: Tensor) -> Tensor:
    """Add the transpose of `_halve`, applied to `halved`, to a map in place."""
    rows, columns = halved.shape[1:3]
    height, width = (min(2, side) for side in maps.shape[1:3])
    pixels = maps[:, : rows * height, : columns * width]
    pixels = pixels.unflatten(2, (columns, width)).unflatten(1, (rows, height))
    pixels.add_(halved[:, :, None, :, None], alpha=1 / (height * width))
    return maps
