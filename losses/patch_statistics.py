"""The statistical part of SEKD's texture term, with its gradient, computed without unfolding.

A 4 x 4 patch at stride 2 is 2 x 2 blocks of 2 x 2 pixels, so every sum over it is a sum of block
sums. Deviations from the mean are computed by Haar differences: within a block, then between the
blocks of a patch. E[x^2] - E[x]^2 would lose all precision where the mean is large.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6  # added to a patch's standard deviation
# A patch with a smaller standard deviation counts as flat: 1 / std would amplify rounding noise in
# padding, shaded soil or a saturated sky. In bf16 the gradient was fifty times that of float32.
FLOOR = 1e-2
ENTRIES = 16  # pixels per patch

# Horizontal, vertical and diagonal differences
Differences = tuple[Tensor, Tensor, Tensor]


def statistical_difference(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """MSE of 4 x 4 patches (stride 2, zero padding 2), each as (p - mean) / d.

    With V the sum of squared deviations of a patch, K the sum of the products of both networks'
    deviations and d = max(std, floor) + epsilon, a patch contributes
    (V_s/d_s^2 + V_t/d_t^2 - 2K/(d_s d_t)) / 16 (Li et al. 2025, without a floor; std is unbiased).

    Args:
        student: a map (B, h, w, C).
        teacher: likewise.

    Returns:
        The scalar, and its gradient (B, h, w, C) with respect to the student's map. For flat
        patches, none flows through the standard deviation.
    """
    grid = Grid(*student.shape[1:3])
    within_s, between_s = grid.analyse(student)
    within_t, between_t = grid.analyse(teacher)
    products = grid.sum_products(within_s, within_t, between_s, between_t)
    squares_s = grid.sum_products(within_s, within_s, between_s, between_s)
    squares_t = grid.sum_products(within_t, within_t, between_t, between_t)

    std_s = _std(squares_s)
    flat = std_s < FLOOR
    inverse_s = (std_s.clamp(min=FLOOR) + EPSILON).reciprocal_()
    inverse_t = (_std(squares_t).clamp_(min=FLOOR) + EPSILON).reciprocal_()
    products.mul_(inverse_s).mul_(inverse_t)
    squares_s.mul_(inverse_s).mul_(inverse_s)
    squares_t.mul_(inverse_t).mul_(inverse_t)
    scale = 1 / (ENTRIES * products.numel())
    value = squares_s.add_(squares_t).sub_(products, alpha=2).mean() / ENTRIES
    del squares_s, squares_t

    # Derivatives by V_s (doubled, since V_s is quadratic) and by K
    by_squares = products.div_(std_s.mul_(ENTRIES - 1)).addcmul_(
        inverse_s, inverse_s, value=EPSILON
    )
    by_squares = torch.where(flat, inverse_s, by_squares)  # d is constant for flat patches
    by_squares.mul_(inverse_s).mul_(2 * scale)
    by_products = inverse_s.mul_(inverse_t).mul_(-2 * scale)
    del std_s, flat, inverse_s, inverse_t
    weights = grid.spread(by_squares).div_(4), grid.spread(by_products).div_(4)
    within = _combine(*weights, within_s, within_t)
    del weights, within_s, within_t
    between = _combine(by_squares.div_(16), by_products.div_(16), between_s, between_t)
    return value, grid.synthesise(within, between)


@dataclass(frozen=True)
class Grid:
    """The blocks and patches of maps of h x w pixels, all as (B, rows, columns, C).

    There are ceil(h / 2) rows of blocks and floor(h / 2) + 1 rows of patches, columns likewise. A
    row of zero blocks is added before the first and, if h is even, after the last; if h is odd, the
    last block's second row is zero already.
    """

    height: int
    width: int

    def analyse(self, maps: Tensor) -> tuple[Differences, Differences]:
        """Haar differences within each block, and between the blocks of each patch."""
        maps = _pad(maps, (0, self.height % 2), (0, self.width % 2))
        top, bottom = maps.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).unbind(2)
        (left, right), (left_change, right_change) = (
            (top + bottom).unbind(3),
            (top - bottom).unbind(3),
        )
        within = left - right, left_change + right_change, left_change - right_change

        blocks = self._surround(left + right)
        rows, changes = blocks[:, 1:] + blocks[:, :-1], blocks[:, 1:] - blocks[:, :-1]
        left, right = changes[:, :, :-1], changes[:, :, 1:]
        return within, (rows[:, :, 1:] - rows[:, :, :-1], left + right, right - left)

    def synthesise(self, within: Differences, between: Differences) -> Tensor:
        """Transpose of `analyse`: a map (B, h, w, C)."""
        horizontal, vertical, diagonal = (self._open(maps) for maps in between)
        rows = horizontal[:, :, :-1] - horizontal[:, :, 1:]
        changes = vertical[:, :, :-1] + vertical[:, :, 1:]
        changes.add_(diagonal[:, :, :-1]).sub_(diagonal[:, :, 1:])
        blocks = (rows + changes)[:, :-1] + (rows - changes)[:, 1:]

        horizontal, vertical, diagonal = within
        maps = blocks.new_empty(
            blocks.shape[0], blocks.shape[1], 2, blocks.shape[2], 2, blocks.shape[3]
        )
        for column, sign in enumerate((1, -1)):
            mean = torch.add(blocks, horizontal, alpha=sign)
            change = torch.add(vertical, diagonal, alpha=sign)
            torch.add(mean, change, out=maps[:, :, 0, :, column])
            torch.sub(mean, change, out=maps[:, :, 1, :, column])
        return maps.flatten(3, 4).flatten(1, 2)[:, : self.height, : self.width]

    def sum_products(
        self,
        within_a: Differences,
        within_b: Differences,
        between_a: Differences,
        between_b: Differences,
    ) -> Tensor:
        """Sum per patch of the products of two maps' deviations."""
        blocks = self._surround(_dot(within_a, within_b).div_(4))
        rows = blocks[:, 1:] + blocks[:, :-1]
        patches = rows[:, :, 1:] + rows[:, :, :-1]
        return patches.add_(_dot(between_a, between_b), alpha=1 / 16)

    def spread(self, patches: Tensor) -> Tensor:
        """Sum over the patches that each block belongs to."""
        patches = self._open(patches)
        rows = patches[:, 1:] + patches[:, :-1]
        return rows[:, :, 1:] + rows[:, :, :-1]

    def _surround(self, blocks: Tensor) -> Tensor:
        return _pad(blocks, (1, 1 - self.height % 2), (1, 1 - self.width % 2))

    def _open(self, patches: Tensor) -> Tensor:
        """Add zeros for the patches that an odd-sized map lacks after its last block."""
        return _pad(patches, (0, self.height % 2), (0, self.width % 2))


def _pad(maps: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    return F.pad(maps, (0, 0, *columns, *rows)) if any(rows + columns) else maps


def _dot(first: Differences, second: Differences) -> Tensor:
    total = first[0] * second[0]
    return total.addcmul_(first[1], second[1]).addcmul_(first[2], second[2])


def _combine(
    weight_a: Tensor, weight_b: Tensor, maps_a: Differences, maps_b: Differences
) -> Differences:
    first, second, third = (
        (weight_a * a).addcmul_(weight_b, b) for a, b in zip(maps_a, maps_b, strict=True)
    )
    return first, second, third


def _std(squares: Tensor) -> Tensor:
    """Unbiased standard deviation, clamped above 0 so that it can be divided by."""
    return (squares / (ENTRIES - 1)).clamp_(min=1e-30).sqrt_()
