"""Global-local context mixer (GL-Mixer) of TransKD.

Liu et al. (arXiv 2202.13393), section III-D: attention for the global context, a gated convolution
over the token sequence for the local one.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import MethodOptions
from losses.embedding_projection import build_embedding_projection
from losses.stagewise import StagewiseAdapter

MAX_HEADS = 8
MIXED_STAGE = 3


class TokenAttention(nn.Module):
    """Multi-head self-attention over tokens.

    Args:
        width: channels C; eight heads, or as many as divide both eight and C.
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
        residual: whether E itself is added, `--add` of the published code.
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
    """Linear layers for the embedding stages that take part, the last one behind a `GLMixer`."""
    adapter = build_embedding_projection(student, teacher, options)
    key = str(MIXED_STAGE)
    if key in adapter:
        mixer = GLMixer(student.widths[MIXED_STAGE], residual=options.gl_residual)
        adapter[key] = nn.Sequential(mixer, adapter[key])
    return adapter
