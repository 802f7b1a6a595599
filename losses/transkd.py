"""TransKD's adapters: selective fusion (CSF), GL-Mixer and embedding assistant (EA).

Liu et al., "TransKD: Transformer Knowledge Distillation for Efficient Semantic Segmentation"
(arXiv 2202.13393): CSF is section III-C, the other two section III-D. CSF selects as SKNet does
(arXiv 1903.06586). The GL-Mixer combines attention, for global context, with a gated convolution
over the token sequence, for local context. The assistant's patch embeddings have the teacher's
width and read the student's features; they help the projected embeddings to match the teacher's.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from losses.adapters import ChannelLinear, StagewiseAdapter, build_embedding_projection
from losses.declaration import MethodOptions
from losses.reviewkd import TopDownFusion

SQUEEZED_WIDTH = 32
LEAST_BATCH = 4  # images that BatchNorm of one value per image takes its statistics from


class SelectiveMix(nn.Module):
    """Mix two maps with per-channel softmax weights computed from their pooled sum.

    Args:
        width: channels C of both maps.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, SQUEEZED_WIDTH, 1, bias=False)
        self.norm = nn.BatchNorm2d(SQUEEZED_WIDTH)
        # Published checkpoints have a second squeeze, without BatchNorm, for batches of one image.
        # The first one handles every batch size here; this one is kept so that they load and
        # parameter counts agree, and frozen so that DDP does not wait for its gradient.
        self.squeeze_single = nn.Conv2d(width, SQUEEZED_WIDTH, 1, bias=False)
        self.squeeze_single.requires_grad_(False)
        self.select = nn.ModuleList(nn.Conv2d(SQUEEZED_WIDTH, width, 1) for _ in range(2))

    def _normalise(self, x: Tensor) -> Tensor:
        """BatchNorm of (B, 32, 1, 1), with the running statistics if B is below `LEAST_BATCH`.

        Of two values each becomes 1 or -1, so an image's fusion would depend on the other image.
        """
        norm = self.norm
        if not self.training or len(x) >= LEAST_BATCH:
            return self.norm(x)
        mean, variance, share = norm.running_mean, norm.running_var, norm.momentum
        assert mean is not None and variance is not None and share is not None
        before = mean.clone(), variance.clone()
        with torch.no_grad():  # around the running mean, as one image has no spread of its own
            values = x.float().flatten(1)
            variance.lerp_((values - mean).square().mean(0), share)
            mean.lerp_(values.mean(0), share)
        return F.batch_norm(x, *before, norm.weight, norm.bias, eps=norm.eps)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mix x and y, both (B, C, h, w)."""
        pooled = F.adaptive_avg_pool2d(x + y, 1)
        squeezed = F.relu(self._normalise(self.squeeze(pooled)))
        scores = torch.stack([select(squeezed) for select in self.select])
        weight_x, weight_y = scores.softmax(dim=0)
        return weight_x * x + weight_y * y


class CrossSelectiveFusion(TopDownFusion):
    """Top-down fusion with `SelectiveMix`.

    Args:
        student_widths: channels C_s per stage, finest first.
        teacher_widths: channels C_t per stage, finest first.
    """

    def __init__(self, student_widths: Sequence[int], teacher_widths: Sequence[int]) -> None:
        super().__init__(student_widths, teacher_widths, SelectiveMix)


def build_selective_fusion(
    student: Any, teacher: Any, options: MethodOptions
) -> CrossSelectiveFusion:
    """The fusion of all four feature stages."""
    return CrossSelectiveFusion(student.widths, teacher.widths)


MAX_HEADS = 8
MIXED_STAGE = 3


class TokenAttention(nn.Module):
    """Multi-head self-attention over tokens.

    Args:
        width: channels C; the number of heads is gcd(8, C).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(MAX_HEADS, width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        qkv = self.qkv(tokens).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class GLMixer(nn.Module):
    """a * attention(E) + b * (conv(E) * sigmoid(conv'(E))) + E over the row-major tokens of E.

    Args:
        width: channels C.
        residual: whether to add E itself, `--add` in the published code.
    """

    def __init__(self, width: int, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        # The published code leaves both uninitialised.
        self.attention_weight = nn.Parameter(torch.ones(1))
        self.conv_weight = nn.Parameter(torch.ones(1))
        self.attention = TokenAttention(width)
        self.conv = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.gate = nn.Conv1d(width, width, kernel_size=3, padding=1)

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        sequence = embedding.flatten(2)
        attended = self.attention(sequence.transpose(1, 2)).transpose(1, 2)
        gated = self.conv(sequence) * self.gate(sequence).sigmoid()
        mixed = self.attention_weight * attended + self.conv_weight * gated
        if self.residual:
            mixed = mixed + sequence
        return mixed.unflatten(2, embedding.shape[2:])


def build_mixed_projection(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """Linear layers for the embedding stages in use, that of the last stage after a `GLMixer`."""
    adapter = build_embedding_projection(student, teacher, options)
    key = str(MIXED_STAGE)
    if key in adapter:
        mixer = GLMixer(student.widths[MIXED_STAGE], residual=options.gl_residual)
        adapter[key] = nn.Sequential(mixer, adapter[key])
    return adapter


IMAGE_CHANNELS = 3


def patch_embedding(width_in: int, width_out: int, kernel_size: int, stride: int) -> nn.Sequential:
    """Overlapping patch embedding: strided convolution and LayerNorm over channels."""
    conv = nn.Conv2d(width_in, width_out, kernel_size, stride, padding=kernel_size // 2)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (kernel_size**2 * width_out)))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, LayerNorm2d(width_out, eps=1e-5))


class EmbeddingAssistant(nn.Module):
    """w_i Linear(E_i) + w_{i+4} PatchEmbed_i(x), x = the image for i = 0, else F_{i-1}.

    The weights start at w_k = 0.1 (k + 1).

    Args:
        student_widths: channels C_s of all four stages, finest first.
        teacher_widths: channels C_t of all four stages.
        stages: the stages (from 0) in use.
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
        if assisted.shape != projected.shape:  # the student's strides are not SegFormer's
            assisted = F.interpolate(assisted, projected.shape[-2:], mode="bilinear")
        weight, assistant = self.weights[str(stage)], self.weights[str(stage + self.num_stages)]
        return weight * projected + assistant * assisted


def build_embedding_assistant(
    student: Any, teacher: Any, options: MethodOptions
) -> EmbeddingAssistant:
    """The assistant for the embedding stages in use."""
    return EmbeddingAssistant(student.widths, teacher.widths, options.stages("embeddings"))
