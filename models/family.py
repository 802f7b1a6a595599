"""Declaration of a network family; `models/registry.py` lists the families."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.encoder import Encoder
from models.keys import State
from models.segmenter import Segmenter


@dataclass(frozen=True)
class Size:
    """One network of a family.

    Attributes:
        head_dim: channels of the decode head.
        embed_dims, depths: channels and blocks of each of the encoder's four stages.
        pretrained: the file in `ckpt_pretrained/` that `--pretrained` without a value loads.
        fields: the file there with weights trained on drawn fields; it may be missing.
        options: further arguments of the encoder.
    """

    head_dim: int
    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    pretrained: str
    fields: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """How one code base names the tensors of a family.

    Attributes:
        name: reported as the file's format.
        description: human-readable description of the format.
        recognises: `recognises(state, named)` returns whether the keys have this layout.
            `named`, that the caller named this family, decides if two families share keys.
        to_ours: returns the tensors under our keys, `encoder.*` and perhaps `head.*`.
        keeps_head: whether a decode head next to this encoder, of the published code or of NVlabs,
            is compatible with ours; otherwise it is dropped.
    """

    name: str
    description: str
    recognises: Callable[[State, bool], bool]
    to_ours: Callable[[State], State]
    keeps_head: bool = True


@dataclass(frozen=True)
class HuggingFace:
    """Conversion of a family's networks to and from Hugging Face transformers.

    Attributes:
        from_ours: converts the state dict of a whole network to theirs.
        config: returns the `config.json` entries for a network's architecture.
        overrides: `overrides(config, widths, depths)` returns how the network described by a
            `config.json` differs from those of the family; raises ValueError, without the
            folder's name, if it cannot be built here.
    """

    from_ours: Callable[[State], State]
    config: Callable[[Segmenter], dict[str, Any]]
    overrides: Callable[[Mapping[str, Any], Sequence[int], Sequence[int]], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """A network family: everything that the project knows about it.

    Attributes:
        name: used in messages.
        encoder: called with a size's `embed_dims`, `depths` and options, and with overrides.
        sizes: by registered name, smallest first.
        block_key: regex of the keys under `encoder.` whose tensor is a vector of a block's width,
            one key per block; its groups `stage` and `block` are numbers. Families and sizes
            are recognised by it.
        layouts: layouts of the code bases whose files can be read.
        config_kind: prefix of `model_type` or `architecture` in the `config.json` of folders
            that can be read; None if there are none.
        huggingface: None if transformers has no such network.
        to_published: converts a whole network's state dict to the published code's; None if that
            has no such network.
    """

    name: str
    encoder: Callable[..., Encoder]
    sizes: Mapping[str, Size]
    block_key: str
    layouts: tuple[Layout, ...] = ()
    config_kind: str | None = None
    huggingface: HuggingFace | None = None
    to_published: Callable[[State], State] | None = None

    def dimensions(self, state: State) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return widths and depths of the encoder in `state`, which has our keys.

        Both are empty if the encoder is of another family.
        """
        widths: dict[int, int] = {}
        depths: dict[int, int] = {}
        for key, tensor in state.items():
            if match := re.fullmatch(rf"encoder\.{self.block_key}", key):
                stage, block = int(match["stage"]), int(match["block"])
                widths[stage] = tensor.shape[0] if tensor.ndim else 0
                depths[stage] = max(depths.get(stage, 0), block + 1)
        return tuple(widths[s] for s in sorted(widths)), tuple(depths[s] for s in sorted(depths))
