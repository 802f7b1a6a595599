"""Inputs that the tests of several losses share."""

from collections.abc import Callable

import pytest
from torch import Tensor

TEACHER_WIDTHS = (64, 128, 320, 512)


@pytest.fixture
def golden_maps(golden, golden_tensor) -> Callable[[str], list[Tensor]]:
    """`golden_maps("student.feature")`: the reference maps (B, C, h, w) of all four stages."""
    size = golden("transkd")["image_size"]

    def draw(name: str) -> list[Tensor]:
        maps = []
        for stage, width in enumerate(TEACHER_WIDTHS):
            side = size // (4 << stage)
            shape = (2, width, side, side)
            if "embedding" in name:  # published as tokens (B, h * w, C)
                tokens = golden_tensor(f"{name}{stage}", (2, side * side, width), -1, 1)
                maps.append(tokens.mT.unflatten(2, (side, side)))
            else:
                maps.append(golden_tensor(f"{name}{stage}", shape, -1, 1))
        return maps

    return draw
