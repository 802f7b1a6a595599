"""Adapters that several methods share: one module per stage, and linear layers for embeddings."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import MethodOptions


class StagewiseAdapter(nn.ModuleDict):
    """One module per stage, applied to the student's map of that stage.

    Args:
        source: which of the student's intermediates to read, "features" or "embeddings".
        stages: stage (from 0) to module (B, C_student, h, w) -> (B, C_teacher, h, w).
    """

    def __init__(self, source: str, stages: dict[int, nn.Module]) -> None:
        super().__init__({str(stage): module for stage, module in stages.items()})
        self.source = source

    def forward(self, student_out: Any) -> list[Tensor]:
        """The adapted maps, one per stage of this adapter."""
        maps = getattr(student_out, self.source)
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
    """A linear layer C_student -> C_teacher for every embedding stage that takes part."""
    stages = options.stages("embeddings")
    projections = {i: ChannelLinear(student.widths[i], teacher.widths[i]) for i in stages}
    return StagewiseAdapter("embeddings", projections)
