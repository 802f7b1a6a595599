"""An adapter that treats every stage on its own."""

from typing import Any

from torch import Tensor, nn


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
