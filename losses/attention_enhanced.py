"""SEKD feature enhancement and fusion (FEF): the student's features at the teacher's width."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.adapters import StagewiseAdapter
from losses.declaration import MethodOptions


class ChannelAttention(nn.Module):
    """CBAM's channel gate: x * sigmoid(MLP(avgpool x) + MLP(maxpool x)), one shared MLP.

    Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, eq. 2; no biases.

    Args:
        channels: C.
        reduction: ratio of C to the width of the hidden layer, which is at least 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        average, largest = maps.mean((2, 3), keepdim=True), F.adaptive_max_pool2d(maps, 1)
        return maps * torch.sigmoid(self.fc(average) + self.fc(largest))


class SpatialAttention(nn.Module):
    """CBAM's spatial gate: x * sigmoid(conv([mean_c x, max_c x])); Woo et al. 2018, eq. 3.

    Args:
        kernel_size: side of the kernel, odd; the convolution has no bias.
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        pixels = maps.permute(0, 2, 3, 1)  # max is fastest over the last axis in memory
        summary = torch.stack([pixels.mean(-1), pixels.max(-1).values], dim=1)
        return maps * torch.sigmoid(self.conv(summary))


class CBAM(nn.Module):
    """Channel attention, then spatial attention (Woo et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(channels)
        self.spatial_attention = SpatialAttention()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return self.spatial_attention(self.channel_attention(maps))


class FeatureEnhancementFusion(nn.Module):
    """One stage of FEF (Li et al. 2025): squeeze, CBAM, 3x3 convolution, CBAM.

    Args:
        in_channels: the student's width.
        out_channels: the teacher's width.
        mid_channels: the width between the two convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
        )
        self.cbam1 = CBAM(mid_channels)
        self.conv2 = nn.Sequential(
            nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.cbam2 = CBAM(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        return self.cbam2(self.conv2(self.cbam1(self.conv1(maps))))


def build_fef(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """FEF for every feature stage."""
    stages = options.stages("features")
    fusions = {i: FeatureEnhancementFusion(student.widths[i], teacher.widths[i]) for i in stages}
    return StagewiseAdapter("features", fusions)
