"""All-MLP decode head of SegFormer (Xie et al., NeurIPS 2021, section 3.2, eq. 4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StageProjection(nn.Module):
    """Linear projection of one stage; a module of its own for the published key names."""

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

    ``forward`` computes the same function as ``forward_plain``, the published formulation, with the
    same parameters. Bilinear upsampling acts on each channel alone and keeps constants, so it
    commutes with per-pixel linear maps: with L_i, b_i the projection of stage i and W_i the slice
    of the fusing convolution that reads it,

        W [up(L_1 x_1 + b_1); ...; up(L_4 x_4 + b_4)] = sum_i up((W_i L_i) x_i) + sum_i W_i b_i.

    Every stage is projected once, at its own resolution, and no concatenation is made; both factors
    of the small product W_i L_i get their gradients.

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
    def stages(self) -> tuple[StageProjection, ...]:
        """The four projections, finest first."""
        return self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Four (B, C_i, h_i, w_i) -> (B, num_classes, h_1, w_1)."""
        size = features[0].shape[-2:]
        weights, bias = self.merged_projections()
        # The constant is added where the map is smallest: upsampling keeps it.
        biases = (None, None, None, bias)
        fused = None
        for feature, weight, bias in zip(features, weights, biases, strict=True):
            # Channels-last throughout: upsampling hundreds of channels is slow in NCHW order.
            x = F.linear(feature.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
            x = x if fused is None else upsample(x, size)
            fused = x if fused is None else fused + x
        return self.classify(self.linear_fuse.activate(fused))

    def merged_projections(self) -> tuple[list[Tensor], Tensor]:
        """Return the products W_i L_i, four (head_dim, C_i), and sum_i W_i b_i, (head_dim,)."""
        # The convolution reads the stages coarsest first.
        slices = self.linear_fuse.conv.weight.flatten(1).chunk(4, dim=1)[::-1]
        # A product of two weights is kept in full precision: it is tiny, its rounding is not.
        with torch.autocast(slices[0].device.type, enabled=False):
            pairs = [(w, stage.proj) for w, stage in zip(slices, self.stages, strict=True)]
            weights = [w @ projection.weight for w, projection in pairs]
            bias = sum(w @ projection.bias for w, projection in pairs)
        return weights, bias

    def forward_plain(self, features: Sequence[Tensor]) -> Tensor:
        """Published formulation of :meth:`forward`, for cost counting and tests."""
        size = features[0].shape[-2:]
        pairs = zip(self.stages, features, strict=True)
        maps = [upsample(stage(feature), size) for stage, feature in pairs]
        return self.classify(self.linear_fuse(torch.cat(maps[::-1], dim=1)))

    def classify(self, fused: Tensor) -> Tensor:
        """Dropout and per-pixel classifier, (B, head_dim, h, w) -> (B, num_classes, h, w)."""
        return self.linear_pred(self.dropout(fused))


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, h, w) bilinearly to ``size`` (height, width)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
