"""All-MLP decode head of SegFormer (Xie et al., NeurIPS 2021, section 3.2, eq. 4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StageProjection(nn.Module):
    """Linear projection of one stage; a separate module to keep the published key names."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, dim)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, dim, h, w)."""
        return self.proj(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Fusion(nn.Module):
    """1x1 convolution without bias, batch norm and ReLU over the concatenated projections."""

    def __init__(self, dim: int, stages: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim * stages, dim, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(dim)
        self.relu = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, stages*dim, h, w) -> (B, dim, h, w)."""
        return self.activate(self.conv(x))

    def activate(self, x: Tensor) -> Tensor:
        """Batch norm and ReLU, (B, dim, h, w) -> (B, dim, h, w)."""
        return self.relu(self.bn(x))


class SegformerHead(nn.Module):
    """Four features -> logits at the first feature's resolution.

    `fuse` computes the same function as `fuse_plain`, the published formulation, with the
    same parameters. Bilinear upsampling acts on each channel alone and keeps constants, so it
    commutes with per-pixel linear maps: with L_i, b_i the projection of stage i and W_i the slice
    of the fusing convolution that reads it,

        W [up(L_1 x_1 + b_1); ...; up(L_4 x_4 + b_4)] = sum_i up((W_i L_i) x_i) + sum_i W_i b_i.

    Each stage is projected once, at its own resolution, without a concatenation; both factors of
    the small product W_i L_i get their gradients. In eval mode batch norm is folded in as well.

    Args:
        widths: channels of the four features, finest first.
        num_classes: channels of the logits.
        head_dim: channels of projections and fusion.
        dropout: probability with which a channel is dropped before the classifier.
    """

    def __init__(
        self, widths: Sequence[int], num_classes: int, head_dim: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.linear_c4, self.linear_c3, self.linear_c2, self.linear_c1 = (
            StageProjection(width, head_dim) for width in reversed(widths)
        )
        self.linear_fuse = Fusion(head_dim, stages=len(widths))
        self.dropout = nn.Dropout2d(dropout)
        self.linear_pred = nn.Conv2d(head_dim, num_classes, kernel_size=1)

    @property
    def fused_width(self) -> int:
        """Channels of the map that the classifier reads."""
        return self.linear_fuse.conv.out_channels

    @property
    def stages(self) -> tuple[StageProjection, ...]:
        """The four projections, finest first."""
        return self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Four (B, C_i, h_i, w_i) -> (B, num_classes, h_1, w_1)."""
        return self.classify(self.fuse(features))

    def fuse(self, features: Sequence[Tensor]) -> Tensor:
        """Four (B, C_i, h_i, w_i) -> (B, head_dim, h_1, w_1), the classifier's input."""
        weights, bias = self.merged_projections()
        fold = not self.linear_fuse.bn.training  # in eval mode, batch norm is one more linear map
        if fold:
            weights, bias = self._fold_batch_norm(weights, bias)
        # The bias is added to the smallest map: upsampling preserves constants.
        biases = (None, None, None, bias)
        finest, *coarser = (
            F.linear(feature.permute(0, 2, 3, 1), weight, b)
            for feature, weight, b in zip(features, weights, biases, strict=True)
        )
        fused = add_upsampled(finest, coarser).permute(0, 3, 1, 2)
        activate = self.linear_fuse.relu if fold else self.linear_fuse.activate
        return activate(fused)

    def merged_projections(self) -> tuple[list[Tensor], Tensor]:
        """Return the products W_i L_i, four (head_dim, C_i), and sum_i W_i b_i, (head_dim,)."""
        # The convolution reads the stages coarsest first.
        slices = self.linear_fuse.conv.weight.flatten(1).chunk(4, dim=1)[::-1]
        # Weights are multiplied in full precision: the product is cheap, its rounding error is not.
        with torch.autocast(slices[0].device.type, enabled=False):
            pairs = [(w, stage.proj) for w, stage in zip(slices, self.stages, strict=True)]
            weights = [w @ projection.weight for w, projection in pairs]
            biases = [w @ projection.bias for w, projection in pairs]
        return weights, sum(biases[1:], start=biases[0])

    def _fold_batch_norm(self, weights: list[Tensor], bias: Tensor) -> tuple[list[Tensor], Tensor]:
        """Apply batch norm's running statistics to the merged projections."""
        bn = self.linear_fuse.bn
        assert bn.running_mean is not None and bn.running_var is not None
        scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
        return [w * scale[:, None] for w in weights], (bias - bn.running_mean) * scale + bn.bias

    def fuse_plain(self, features: Sequence[Tensor]) -> Tensor:
        """Published formulation of `fuse`, for cost counting and tests."""
        size = features[0].shape[-2:]
        pairs = zip(self.stages, features, strict=True)
        maps = [upsample(stage(feature), size) for stage, feature in pairs]
        return self.linear_fuse(torch.cat(maps[::-1], dim=1))

    def keep_classes(self, count: int) -> None:
        """Keep only the first `count` logits."""
        old = self.linear_pred
        self.linear_pred = nn.Conv2d(old.in_channels, count, kernel_size=1)
        self.linear_pred.weight = nn.Parameter(old.weight.detach()[:count].clone())
        assert old.bias is not None
        self.linear_pred.bias = nn.Parameter(old.bias.detach()[:count].clone())

    def classify(self, fused: Tensor) -> Tensor:
        """Dropout and per-pixel classifier, (B, head_dim, h, w) -> (B, num_classes, h, w)."""
        return self.linear_pred(self.dropout(fused))


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, h, w) bilinearly to `size` (height, width)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def add_upsampled(base: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Return `base` (B, H, W, C) plus every map (B, h, w, C) resized bilinearly to H x W.

    Bilinear interpolation is separable. Rows are interpolated first, while maps are narrow; then
    one matrix product interpolates the columns of all maps and adds them to `base`, in
    one pass over it, where resizing and adding each map would take six.
    An ONNX export uses the runtime's own resizing, which is faster there, also in bfloat16.
    """
    batch, height, width, channels = base.shape
    if torch.onnx.is_in_onnx_export():
        total = base.permute(0, 3, 1, 2)  # the layout of runtimes: they need no transpose
        for x in maps:
            total = total + upsample(x.permute(0, 3, 1, 2), (height, width))
        return total.permute(0, 2, 3, 1)
    by_rows, by_columns = [], []
    for x in maps:
        rows = interpolation_matrix(x.shape[1], height, x) @ x.flatten(2)
        by_rows.append(rows.reshape(batch * height, x.shape[2], channels))
        by_columns.append(interpolation_matrix(x.shape[2], width, x))
    columns = torch.cat(by_columns, dim=1).expand(batch * height, -1, -1)
    base = base.reshape(batch * height, width, channels)
    return torch.baddbmm(base, columns, torch.cat(by_rows, dim=1)).unflatten(0, (batch, height))


def interpolation_matrix(size_in: int, size_out: int, like: Tensor) -> Tensor:
    """Linear interpolation between pixel centres, (size_out, size_in), in the dtype of `like`."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    source = torch.arange(size_out, dtype=dtype, device=like.device)
    source = ((source + 0.5) * (size_in / size_out) - 0.5).clamp(0, size_in - 1)
    pixels = torch.arange(size_in, dtype=dtype, device=like.device)
    return (1 - (source[:, None] - pixels).abs()).clamp(min=0).to(like.dtype)
