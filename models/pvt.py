"""Pyramid Vision Transformer v2 (Wang et al., CVM 2022) from timm, as an encoder."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from models.mit import STRIDES, EncoderMaps, attention_heads, check_images


class PyramidVisionTransformer(nn.Module):
    """timm's PVTv2 without its classifier; its state dict lies under the key ``backbone.``.

    Args:
        variant: timm's name, ``pvt_v2_b0`` to ``pvt_v2_b5``.
        head_width: channels per attention head; read only where ``embed_dims`` is overridden.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0 over all blocks.
        options: passed on to timm, e.g. ``embed_dims`` and ``depths``.
    """

    strides = STRIDES

    def __init__(
        self, variant: str, head_width: int = 64, drop_path_rate: float = 0.1, **options: Any
    ) -> None:
        super().__init__()
        if "embed_dims" in options:
            options.setdefault("num_heads", attention_heads(options["embed_dims"], head_width))
        self.backbone = timm.create_model(
            variant, num_classes=0, drop_path_rate=drop_path_rate, **options
        )
        self.widths = tuple(info["num_chs"] for info in self.backbone.feature_info)

    def blocks(self) -> list[list[nn.Parameter]]:
        """Parameters by block, from the first to the last; see `MixTransformer.blocks`."""
        found = []
        for stage in self.backbone.stages:
            members = [list(block.parameters()) for block in stage.blocks]
            members[0] += (stage.downsample or self.backbone.patch_embed).parameters()
            members[-1] += stage.norm.parameters()
            found += members
        return found

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four features, see :meth:`forward_intermediates`."""
        return self.forward_intermediates(images).features

    def forward_intermediates(self, images: Tensor) -> EncoderMaps:
        """Encode images of any size of at least 32 x 32.

        timm's own feature access stops at stage outputs, so its stages are walked through here.

        Args:
            images: float (B, 3, H, W).

        Returns:
            Maps (B, C_s, ceil(H/stride_s), ceil(W/stride_s)), four of each kind.

        Raises:
            ValueError: if the images have another shape, type or are too small.
        """
        check_images(images)
        maps = EncoderMaps([], [], [])
        x = images.contiguous(memory_format=torch.channels_last)
        for stage in self.backbone.stages:
            embed = stage.downsample or self.backbone.patch_embed
            x = embed(x)
            maps.embeddings.append(x.permute(0, 3, 1, 2))
            shape = x.shape
            tokens = x.flatten(1, 2)
            for block in stage.blocks:
                tokens = block(tokens, shape[1:3])
            maps.before_norm.append(tokens.reshape(shape).permute(0, 3, 1, 2))
            # Exported to ONNX, an unflatten here would fix the size of what follows.
            x = stage.norm(tokens).reshape(shape).permute(0, 3, 1, 2)
            maps.features.append(x)
        return maps
