"""Adapters that several methods share: one module per stage, and linear layers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import MethodOptions, maps_of


class StagewiseAdapter(nn.ModuleDict):
    """One module per stage, applied to the student's map of that stage.

    Args:
        source: which of the student's intermediates to read, one of `INTERMEDIATES`.
        stages: stage (from 0) to module (B, C_student, h, w) -> (B, C_teacher, h, w).
        pool: applied to the student's maps first.
    """

    def __init__(
        self,
        source: str,
        stages: Mapping[int, nn.Module],
        pool: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__({str(stage): module for stage, module in stages.items()})
        self.source = source
        self.pool = pool

    def forward(self, student_out: Any) -> list[Tensor]:
        """The adapted maps, one per stage of this adapter."""
        maps = maps_of(student_out, self.source)
        if self.pool is not None:
            maps = [self.pool(each) for each in maps]
        return [module(maps[int(stage)]) for stage, module in self.items()]


class ChannelLinear(nn.Linear):
    """A linear layer over the channels of a map (B, C, h, w); the result is channels-last."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C_out, h, w)."""
        tokens = maps.permute(0, 2, 3, 1)
        return F.linear(tokens, self.weight, self.bias).permute(0, 3, 1, 2)


def build_embedding_projection(
    student: Any, teacher: Any, options: MethodOptions
) -> StagewiseAdapter:
    """A linear layer C_student -> C_teacher for every embedding stage in use."""
    stages = options.stages("embeddings")
    projections = {i: ChannelLinear(student.widths[i], teacher.widths[i]) for i in stages}
    return StagewiseAdapter("embeddings", projections)


def build_fused_projection(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """A linear layer from the student's fused map to the width of the teacher's."""
    return StagewiseAdapter("fused", {0: ChannelLinear(student.fused_width, teacher.fused_width)})


def build_last_projection(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """A linear layer from the student's last feature to the width of the teacher's."""
    return StagewiseAdapter("features", {3: ChannelLinear(student.widths[3], teacher.widths[3])})
