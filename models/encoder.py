"""Interface of the encoders of all network families."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)
MIN_SIZE = 32


class EncoderMaps(NamedTuple):
    """Output of an encoder: four maps (B, C_s, h_s, w_s) of each kind, in channels-last memory.

    Attributes:
        features: stage outputs after the stage's norm.
        embeddings: patch embeddings at the start of the stage, after their norm.
        before_norm: stage outputs before the stage's norm, where pixels differ in energy.
    """

    features: list[Tensor]
    embeddings: list[Tensor]
    before_norm: list[Tensor]


class Encoder(nn.Module, ABC):
    """Four stages, at strides 4, 8, 16 and 32.

    Its constructor takes `embed_dims` and `depths` (channels and blocks of each stage),
    `drop_path_rate`, and the options of its family.

    Attributes:
        widths: channels of the four features.
        strides: strides of the four features.
    """

    widths: tuple[int, ...]
    strides = STRIDES

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four features, see `forward_intermediates`."""
        return self.forward_intermediates(images).features

    @abstractmethod
    def forward_intermediates(self, images: Tensor) -> EncoderMaps:
        """Encode images of any size of at least 32 x 32.

        Args:
            images: float (B, 3, H, W).

        Returns:
            Maps (B, C_s, ceil(H/stride_s), ceil(W/stride_s)), four of each kind.

        Raises:
            ValueError: if the images have the wrong shape or type, or are too small.
        """

    @abstractmethod
    def blocks(self) -> list[list[nn.Parameter]]:
        """Parameters per block, from first to last.

        A stage's patch embedding belongs to its first block, its norm to its last.
        """

    @abstractmethod
    def stage_norm(self, stage: int) -> nn.Module:
        """Return the norm at the end of a stage, 1 to 4, which class activation maps read.

        It yields the stage's features as (B, h, w, C) or (B, h * w, C).
        """


def check_images(images: Tensor) -> None:
    """Raise ValueError unless `images` is a float (B, 3, H, W) batch with H, W >= 32."""
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != 3:
        raise ValueError(f"images must have shape (B, 3, H, W), not {shape}")
    if not images.is_floating_point():
        raise ValueError(f"images must be normalised floats, not {images.dtype}")
    if shape[2] < MIN_SIZE or shape[3] < MIN_SIZE:
        raise ValueError(
            f"images of {shape[2]}x{shape[3]} are too small: both sides must be >= {MIN_SIZE} px"
        )


def attention_heads(embed_dims: Sequence[int], head_width: int) -> tuple[int, ...]:
    """One attention head per `head_width` channels, at least one: (1, 2, 5, 8) as published."""
    return tuple(max(1, dim // head_width) for dim in embed_dims)
