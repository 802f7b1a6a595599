"""Patch embeddings of the student in the width of the teacher's."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import MethodOptions
from losses.stagewise import StagewiseAdapter


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
