"""Pyramid Vision Transformer v2 (Wang et al., CVM 2022) from timm, as a network family."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.models import pvt_v2
from torch import Tensor, nn

from models.encoder import Encoder, EncoderMaps, attention_heads, check_images
from models.family import Family, Layout, Size
from models.keys import State, starts, widening, with_prefix

MLP_RATIO = 8  # of the first two stages; B5 has 4, like SegFormer


class PyramidVisionTransformer(Encoder):
    """timm's PVTv2 without its classifier; its tensors are under the key `backbone.`.

    Args:
        embed_dims: channels of each stage.
        depths: blocks of each stage.
        variant: timm's name, `pvt_v2_b0` to `pvt_v2_b5`; sets all other properties.
        head_width: channels per attention head, see `attention_heads`.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0 over all blocks.
        options: passed on to timm.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        variant: str,
        head_width: int = 64,
        drop_path_rate: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__()
        options = {"num_heads": attention_heads(embed_dims, head_width)} | options
        self.backbone = timm.create_model(
            variant,
            num_classes=0,
            embed_dims=embed_dims,
            depths=depths,
            drop_path_rate=drop_path_rate,
            **options,
        )
        self.widths = tuple(embed_dims)

    def stage_norm(self, stage: int) -> nn.Module:
        """Return the norm at the end of a stage, 1 to 4; it yields (B, h * w, C)."""
        return self._stages[stage - 1].norm

    def blocks(self) -> list[list[nn.Parameter]]:
        """Parameters per block, see `Encoder.blocks`."""
        found = []
        for stage in self._stages:
            members = [list(block.parameters()) for block in stage.blocks]
            members[0] += self._embed(stage).parameters()
            members[-1] += stage.norm.parameters()
            found += members
        return found

    def forward_intermediates(self, images: Tensor) -> EncoderMaps:
        """Encode float images (B, 3, H, W), see `Encoder.forward_intermediates`.

        timm's feature extraction only returns stage outputs, so its stages are run one by one here.
        """
        check_images(images)
        maps = EncoderMaps([], [], [])
        x = images.contiguous(memory_format=torch.channels_last)
        for stage in self._stages:
            x = self._embed(stage)(x)
            maps.embeddings.append(x.permute(0, 3, 1, 2))
            shape = x.shape
            tokens = x.flatten(1, 2)
            for block in stage.blocks:
                tokens = block(tokens, shape[1:3])
            maps.before_norm.append(tokens.reshape(shape).permute(0, 3, 1, 2))
            # In an ONNX export, an unflatten here would fix the spatial size.
            x = stage.norm(tokens).reshape(shape).permute(0, 3, 1, 2)
            maps.features.append(x)
        return maps

    @property
    def _stages(self) -> Any:
        return self.backbone.stages

    def _embed(self, stage: Any) -> Any:
        return stage.downsample or self.backbone.patch_embed


def from_timm(state: State) -> State:
    """Translate a PVTv2 encoder of timm, or of its authors, to our keys."""
    return with_prefix(pvt_v2.checkpoint_filter_fn(state, None), "encoder.backbone.")


def _is_timm(state: State, named: bool) -> bool:
    """Also accept the authors' names, which SegFormer has too, with layers of other widths."""
    if starts(state, "stages.0.blocks."):
        return True
    return starts(state, "patch_embed1.") and (named or widening(state) == MLP_RATIO)


def _size(number: int, head_dim: int, base: int, *depths: int) -> Size:
    """B0 to B5, with SegFormer's widths and depths."""
    return Size(
        head_dim,
        embed_dims=(base, base * 2, base * 5, base * 8),
        depths=depths,
        pretrained=f"pvt_v2_b{number}.pth",
        options={"variant": f"pvt_v2_b{number}", "head_width": base},
    )


PVTV2 = Family(
    "PVTv2",
    PyramidVisionTransformer,
    {
        "PVTv2B0": _size(0, 256, 32, 2, 2, 2, 2),
        "PVTv2B1": _size(1, 256, 64, 2, 2, 2, 2),
        "PVTv2B2": _size(2, 768, 64, 3, 4, 6, 3),
        "PVTv2B3": _size(3, 768, 64, 3, 4, 18, 3),
        "PVTv2B4": _size(4, 768, 64, 3, 8, 27, 3),
        "PVTv2B5": _size(5, 768, 64, 3, 6, 40, 3),
    },
    block_key=r"backbone\.stages\.(?P<stage>\d)\.blocks\.(?P<block>\d+)\.norm1\.weight",
    layouts=(Layout("timm", "a PVTv2 encoder of timm or of its authors", _is_timm, from_timm),),
    config_kind="pvt_v2",
)
