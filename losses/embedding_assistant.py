"""Embedding assistant (EA) of TransKD.

Liu et al. (arXiv 2202.13393), section III-D: patch embeddings of the teacher's width, fed by the
student, help the projected embeddings to meet the teacher's.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import MethodOptions
from losses.embedding_projection import ChannelLinear

IMAGE_CHANNELS = 3


def patch_embedding(width_in: int, width_out: int, kernel_size: int, stride: int) -> nn.Sequential:
    """Overlapping patch embedding: strided convolution and LayerNorm over channels."""
    conv = nn.Conv2d(width_in, width_out, kernel_size, stride, padding=kernel_size // 2)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (kernel_size**2 * width_out)))
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, LayerNorm2d(width_out, eps=1e-5))


class EmbeddingAssistant(nn.Module):
    """w_i Linear(E_i) + w_{i+4} PatchEmbed_i(x), x = the image for i = 0, else F_{i-1}.

    The weights start at w_k = 0.1 (k + 1).

    Args:
        student_widths: channels C_s of all four stages, finest first.
        teacher_widths: channels C_t of all four stages.
        stages: those (from 0) that take part.
    """

    def __init__(
        self,
        student_widths: Sequence[int],
        teacher_widths: Sequence[int],
        stages: Iterable[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.projections = nn.ModuleDict()
        self.patch_embeddings = nn.ModuleDict()
        self.weights = nn.ParameterDict()
        for stage in self.stages:
            key, width = str(stage), teacher_widths[stage]
            self.projections[key] = ChannelLinear(student_widths[stage], width)
            self.patch_embeddings[key] = (
                patch_embedding(student_widths[stage - 1], width, kernel_size=3, stride=2)
                if stage
                else patch_embedding(IMAGE_CHANNELS, width, kernel_size=7, stride=4)
            )
            for k in (stage, stage + len(student_widths)):
                self.weights[str(k)] = nn.Parameter(torch.full((1,), 0.1 * (k + 1)))
        self.num_stages = len(student_widths)

    def forward(self, student_out: Any) -> list[Tensor]:
        """Read `images`, `features` and `embeddings`; return maps (B, C_t, h, w) per stage."""
        return [self._stage(stage, student_out) for stage in self.stages]

    def _stage(self, stage: int, student_out: Any) -> Tensor:
        source = student_out.features[stage - 1] if stage else student_out.images
        projected = self.projections[str(stage)](student_out.embeddings[stage])
        assisted = self.patch_embeddings[str(stage)](source)
        if assisted.shape != projected.shape:  # a student of other strides than SegFormer's
            assisted = F.interpolate(assisted, projected.shape[-2:], mode="bilinear")
        weight, assistant = self.weights[str(stage)], self.weights[str(stage + self.num_stages)]
        return weight * projected + assistant * assisted


def build_embedding_assistant(
    student: Any, teacher: Any, options: MethodOptions
) -> EmbeddingAssistant:
    """The assistant of the embedding stages that take part."""
    return EmbeddingAssistant(student.widths, teacher.widths, options.stages("embeddings"))
