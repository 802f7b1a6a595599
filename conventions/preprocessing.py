"""How images are prepared for a network; it belongs with the network's weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

STRIDE = 4  # pixels of a prepared image per cell of the logits, along each side

ImageSize = int | tuple[int, int] | None


@dataclass(frozen=True)
class Preprocessing:
    """How images are resized and normalised; by default as for ImageNet weights.

    Attributes:
        mean, std: of red, green and blue, for images in 0..1.
        image_size: None (the image's own), its short side (to within `STRIDE`), or (height, width).
        protocol: how predictions are scored: against labels at their own size, or as published.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    image_size: ImageSize = None
    protocol: Literal["standard", "paper"] = "standard"

    @classmethod
    def read(cls, entries: Mapping[str, Any]) -> Self:
        """Build from plain entries, such as a checkpoint's; missing ones get their defaults."""
        size = entries.get("image_size")
        return cls(
            mean=tuple(entries.get("mean", IMAGENET_MEAN)),
            std=tuple(entries.get("std", IMAGENET_STD)),
            image_size=tuple(size) if isinstance(size, list | tuple) else size,
            protocol=entries.get("protocol", "standard"),
        )

    def plain(self) -> dict[str, Any]:
        """Return the entries as a checkpoint stores them, lists in place of tuples."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


# The published SEKD and TransKD code trains on images in [0, 1] that are not normalised.
UNNORMALISED = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
