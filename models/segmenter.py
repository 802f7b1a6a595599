"""A segmentation network: an encoder that yields features, a head that yields logits."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from models.encoder import Encoder
from models.head import SegformerHead


@dataclass(frozen=True)
class Intermediates:
    """Intermediate and final outputs of a network; every map is (B, C, h, w).

    Attributes:
        images: the input as given, (B, 3, H, W).
        logits: (B, K, ceil(H/4), ceil(W/4)); None if the head was not run.
        features: encoder outputs after each stage's norm, four, at strides 4, 8, 16, 32.
        embeddings: patch embeddings at the start of each stage after their norm, as `features`.
        before_norm: encoder outputs before each stage's norm, as `features`.
        fused: what the head's classifier reads, (B, head_dim, ceil(H/4), ceil(W/4)), before
            dropout; None if the head was not run.
    """

    images: Tensor
    logits: Tensor | None
    features: list[Tensor] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)
    before_norm: list[Tensor] = field(default_factory=list)
    fused: Tensor | None = None


class Segmenter(nn.Module):
    """Encoder and head as one network.

    Args:
        encoder: yields features and the other intermediates that methods read.
        head: `fuse` turns the list of features into one map, `classify` that into logits.
        num_classes: channels of the logits.
        name: registered name, see `models/registry.py`.
        overrides: what differs from the registered architecture; saved with checkpoints.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: SegformerHead,
        num_classes: int,
        name: str = "",
        overrides: dict | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.num_classes = num_classes
        self.name = name
        self.overrides = dict(overrides or {})

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four features."""
        return self.encoder.widths

    @property
    def fused_width(self) -> int:
        """Channels of the fused map."""
        return self.head.fused_width

    def keep_classes(self, count: int) -> None:
        """Keep only the first `count` outputs, e.g. to drop published networks' void output."""
        self.head.keep_classes(count)
        self.num_classes = count

    def forward(self, images: Tensor) -> Tensor:
        """Segment float images (B, 3, H, W), H, W >= 32; smaller ones raise ValueError.

        Returns logits (B, K, ceil(H/4), ceil(W/4)).
        """
        return self.head(self.encoder(images))

    def forward_intermediates(self, images: Tensor, with_head: bool = True) -> Intermediates:
        """Like `forward`, but also return features and patch embeddings.

        Without the head, logits and the fused map are None; in a large network this saves a fifth
        of the work.
        """
        maps = self.encoder.forward_intermediates(images)
        if not with_head:
            return Intermediates(images, None, **maps._asdict())
        fused = self.head.fuse(maps.features)
        return Intermediates(images, self.head.classify(fused), **maps._asdict(), fused=fused)
