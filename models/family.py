"""What a network family declares about itself; ``models/registry.py`` lists the families."""

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
        pretrained: the file in ``ckpt_pretrained/`` that ``--pretrained`` alone takes.
        fields: the file there with weights learnt from drawn fields, where there may be one.
        options: more arguments of the encoder.
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
        name: what is reported as the file's format.
        description: of that format, for people.
        recognises: ``recognises(state, named)`` returns whether tensors are named like that. Where
            two families share names, ``named`` settles it: the caller has named this family.
        to_ours: returns the tensors under our keys, ``encoder.*`` and perhaps ``head.*``.
        keeps_head: whether a decode head of the published code or of NVlabs, where the file holds
            one beside this encoder, is ours.
    """

    name: str
    description: str
    recognises: Callable[[State, bool], bool]
    to_ours: Callable[[State], State]
    keeps_head: bool = True


@dataclass(frozen=True)
class HuggingFace:
    """How a family's network is written for Hugging Face transformers, and read from there.

    Attributes:
        from_ours: turns the state dict of a whole network into theirs.
        config: returns what ``config.json`` says about a network's architecture.
        overrides: ``overrides(config, widths, depths)`` returns how the network that a
            ``config.json`` describes differs from those of the family; raises ValueError, without
            the folder's name, where it cannot be built here.
    """

    from_ours: Callable[[State], State]
    config: Callable[[Segmenter], dict[str, Any]]
    overrides: Callable[[Mapping[str, Any], Sequence[int], Sequence[int]], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """A network family: all that the project knows of it.

    Attributes:
        name: for messages.
        encoder: called with a size's ``embed_dims``, ``depths`` and options, and with overrides.
        sizes: by registered name, smallest first.
        block_key: pattern of the keys under ``encoder.`` that hold a vector of a block's width, one
            per block; its groups ``stage`` and ``block`` are numbers. Families and sizes are
            recognised by it.
        layouts: of the code bases whose files are read.
        config_kind: how ``model_type`` or ``architecture`` begin in the ``config.json`` of folders
            that are read; None where there are none.
        huggingface: None where transformers has no such network.
        to_published: turns a whole network's state dict into the published code's; None where it
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
        """Return widths and depths of the encoder whose tensors, under our keys, are in ``state``.

        Both are empty where it is an encoder of another family.
        """
        widths: dict[int, int] = {}
        depths: dict[int, int] = {}
        for key, tensor in state.items():
            if match := re.fullmatch(rf"encoder\.{self.block_key}", key):
                stage, block = int(match["stage"]), int(match["block"])
                widths[stage] = tensor.shape[0] if tensor.ndim else 0
                depths[stage] = max(depths.get(stage, 0), block + 1)
        return tuple(widths[s] for s in sorted(widths)), tuple(depths[s] for s in sorted(depths))
