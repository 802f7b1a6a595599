"""Mix Transformer, the hierarchical encoder of SegFormer (Xie et al., NeurIPS 2021, section 3.1).

Inside the encoder maps are laid out (B, h, w, C), as linear layers and layer norms expect; the
(B, C, h, w) view of a map is channels-last, which suits convolutions. No copy is made between the
two.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from models.encoder import Encoder, EncoderMaps, attention_heads, check_images

BLOCK_EPS = 1e-6  # norms of blocks and stages; those of patch embedding and reduction keep 1e-5
SR_RATIOS = (8, 4, 2, 1)
MLP_RATIO = 4
DROP_PATH_RATE = 0.1


def initialise(module: nn.Module) -> None:
    """Published SegFormer initialisation of one layer; use with `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply `conv` to a map laid out (B, h, w, C) and return the result in the same layout."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention: (B, heads, N, d) over M keys and values (B, heads, M, d).

    On CPU in bfloat16, the backward pass of PyTorch's fused attention takes two to five times as
    long as that of explicit matrix products, so training uses the latter there.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        return scores.softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


class OverlapPatchEmbed(nn.Module):
    """Overlapping patches: a strided convolution and a norm, (B, h, w, C_in) -> (B, h', w', C)."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size, stride, padding=kernel_size // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(convolve(self.proj, x))


class EfficientAttention(nn.Module):
    """Self-attention over keys and values of a map shrunk `sr_ratio` times (SegFormer, eq. 2)."""

    def __init__(self, dim: int, num_heads: int, sr_ratio: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide a width of {dim} channels")
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, dim * 2)
        self.proj = nn.Linear(dim, dim)
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, kernel_size=sr_ratio, stride=sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        reduced = self.norm(convolve(self.sr, x)) if self.sr_ratio > 1 else x
        query = self._split_heads(self.q(x))
        key, value = (self._split_heads(half) for half in self.kv(reduced).chunk(2, dim=-1))
        mixed = attend(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(x.shape))

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, heads, h*w, C/heads)."""
        return x.flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class DepthwiseConv(nn.Module):
    """3x3 depthwise convolution: positional information for the Mix-FFN (SegFormer, eq. 3)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self.dwconv, x)


class MixFFN(nn.Module):
    """Feed-forward network with a depthwise convolution between its layers (SegFormer, eq. 3)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    """Pre-norm transformer block with stochastic depth: attention, then Mix-FFN."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        sr_ratio: int,
        mlp_ratio: float,
        drop_path: float,
        norm_eps: float = BLOCK_EPS,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = EfficientAttention(dim, num_heads, sr_ratio)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = MixFFN(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MixTransformer(Encoder):
    """Four stages of patch embedding, blocks and norm, at strides 4, 8, 16 and 32.

    Args:
        embed_dims: channels of each stage.
        depths: blocks of each stage.
        head_width: channels per attention head, see `attention_heads`.
        sr_ratios: reduction of each stage's keys and values, per side.
        mlp_ratio: ratio of hidden to input width of the Mix-FFN.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0 over all blocks.
        norm_eps: epsilon of the blocks' and stages' norms.

    State-dict keys are those of the published backbones: `patch_embed{s}`, `block{s}.{j}`,
    `norm{s}` with s from 1 to 4.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        head_width: int = 64,
        sr_ratios: Sequence[int] = SR_RATIOS,
        mlp_ratio: float = MLP_RATIO,
        drop_path_rate: float = DROP_PATH_RATE,
        norm_eps: float = BLOCK_EPS,
    ) -> None:
        super().__init__()
        self.widths = tuple(embed_dims)
        num_heads = attention_heads(embed_dims, head_width)
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist()
        in_channels = 3
        for i, dim in enumerate(embed_dims):
            patch_embed = OverlapPatchEmbed(in_channels, dim, *((7, 4) if i == 0 else (3, 2)))
            self.add_module(f"patch_embed{i + 1}", patch_embed)
            in_channels = dim
        for i, (dim, depth) in enumerate(zip(embed_dims, depths, strict=True)):
            blocks = [
                Block(dim, num_heads[i], sr_ratios[i], mlp_ratio, rates.pop(0), norm_eps)
                for _ in range(depth)
            ]
            self.add_module(f"block{i + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dim, eps=norm_eps))
        self.apply(initialise)

    def stage_blocks(self, stage: int) -> Sequence[Block]:
        """Return the blocks of a stage, 1 to 4."""
        return cast(Sequence[Block], self.get_submodule(f"block{stage}"))

    def stage_norm(self, stage: int) -> nn.LayerNorm:
        """Return the norm at the end of a stage, 1 to 4; it yields (B, h, w, C)."""
        return cast(nn.LayerNorm, self.get_submodule(f"norm{stage}"))

    def blocks(self) -> list[list[nn.Parameter]]:
        """Parameters per block, see `Encoder.blocks`."""
        found = []
        for stage in range(1, 5):
            members = [list(block.parameters()) for block in self.stage_blocks(stage)]
            members[0] += self.get_submodule(f"patch_embed{stage}").parameters()
            members[-1] += self.stage_norm(stage).parameters()
            found += members
        return found

    def forward_intermediates(self, images: Tensor) -> EncoderMaps:
        """Encode float images (B, 3, H, W), see `Encoder.forward_intermediates`."""
        check_images(images)
        maps = EncoderMaps([], [], [])
        x = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        for stage in range(1, 5):
            x = self.get_submodule(f"patch_embed{stage}")(x)
            maps.embeddings.append(x.permute(0, 3, 1, 2))
            for block in self.stage_blocks(stage):
                x = block(x)
            maps.before_norm.append(x.permute(0, 3, 1, 2))
            x = self.stage_norm(stage)(x)
            maps.features.append(x.permute(0, 3, 1, 2))
        return maps
