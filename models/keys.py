"""State-dict key names of other code bases, and their translation into ours and back.

Ours are ``encoder.`` and ``head.`` before the names of the published SegFormer code. Where others
differ by more than a prefix, a table of templates {ours: theirs} says how: ``{s}`` is the stage,
counted from 1 in our keys and from 0 in theirs, ``{j}`` the block.
"""

import re
from collections.abc import Mapping

import torch
from timm.models import pvt_v2
from torch import Tensor

State = dict[str, Tensor]

PVT_PREFIX = "encoder.backbone."

HUGGINGFACE = {
    "encoder.patch_embed{s}.proj": "segformer.encoder.patch_embeddings.{s}.proj",
    "encoder.patch_embed{s}.norm": "segformer.encoder.patch_embeddings.{s}.layer_norm",
    "encoder.block{s}.{j}.norm1": "segformer.encoder.block.{s}.{j}.layer_norm_1",
    "encoder.block{s}.{j}.norm2": "segformer.encoder.block.{s}.{j}.layer_norm_2",
    "encoder.block{s}.{j}.attn.q": "segformer.encoder.block.{s}.{j}.attention.self.query",
    "encoder.block{s}.{j}.attn.k": "segformer.encoder.block.{s}.{j}.attention.self.key",
    "encoder.block{s}.{j}.attn.v": "segformer.encoder.block.{s}.{j}.attention.self.value",
    "encoder.block{s}.{j}.attn.sr": "segformer.encoder.block.{s}.{j}.attention.self.sr",
    "encoder.block{s}.{j}.attn.norm": "segformer.encoder.block.{s}.{j}.attention.self.layer_norm",
    "encoder.block{s}.{j}.attn.proj": "segformer.encoder.block.{s}.{j}.attention.output.dense",
    "encoder.block{s}.{j}.mlp.fc1": "segformer.encoder.block.{s}.{j}.mlp.dense1",
    "encoder.block{s}.{j}.mlp.dwconv.dwconv": "segformer.encoder.block.{s}.{j}.mlp.dwconv.dwconv",
    "encoder.block{s}.{j}.mlp.fc2": "segformer.encoder.block.{s}.{j}.mlp.dense2",
    "encoder.norm{s}": "segformer.encoder.layer_norm.{s}",
    "head.linear_c{s}.proj": "decode_head.linear_c.{s}.proj",
    "head.linear_fuse.conv": "decode_head.linear_fuse",
    "head.linear_fuse.bn": "decode_head.batch_norm",
    "head.linear_pred": "decode_head.classifier",
}

# The encoder as mmsegmentation 0.x and 1.x rewrote it; its head is another network.
MMSEG = {
    "encoder.patch_embed{s}.proj": "layers.{s}.0.projection",
    "encoder.patch_embed{s}.norm": "layers.{s}.0.norm",
    "encoder.block{s}.{j}.norm1": "layers.{s}.1.{j}.norm1",
    "encoder.block{s}.{j}.norm2": "layers.{s}.1.{j}.norm2",
    "encoder.block{s}.{j}.attn.qkv": "layers.{s}.1.{j}.attn.attn.in_proj",
    "encoder.block{s}.{j}.attn.proj": "layers.{s}.1.{j}.attn.attn.out_proj",
    "encoder.block{s}.{j}.attn.sr": "layers.{s}.1.{j}.attn.sr",
    "encoder.block{s}.{j}.attn.norm": "layers.{s}.1.{j}.attn.norm",
    "encoder.block{s}.{j}.mlp.fc1": "layers.{s}.1.{j}.ffn.layers.0",
    "encoder.block{s}.{j}.mlp.dwconv.dwconv": "layers.{s}.1.{j}.ffn.layers.1",
    "encoder.block{s}.{j}.mlp.fc2": "layers.{s}.1.{j}.ffn.layers.4",
    "encoder.norm{s}": "layers.{s}.2",
}


class KeyMap:
    """Renames keys by a table of templates; a key that no template fits keeps its name."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._to_ours = [(_pattern(theirs), ours) for ours, theirs in table.items()]
        self._to_theirs = [(_pattern(ours), theirs) for ours, theirs in table.items()]

    def to_ours(self, state: State) -> State:
        """Return ``state`` under our keys."""
        return {_rename(key, self._to_ours, 1): value for key, value in state.items()}

    def to_theirs(self, state: State) -> State:
        """Return ``state``, which has our keys, under theirs."""
        return {_rename(key, self._to_theirs, -1): value for key, value in state.items()}


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for field in ("s", "j"):
        escaped = escaped.replace(rf"\{{{field}\}}", rf"(?P<{field}>\d+)")
    return re.compile(escaped)


def _rename(key: str, rules: list[tuple[re.Pattern, str]], shift: int) -> str:
    stem, _, leaf = key.rpartition(".")
    for pattern, template in rules:
        if match := pattern.fullmatch(stem):
            fields = {name: int(number) for name, number in match.groupdict().items()}
            if "s" in fields:
                fields["s"] += shift
            return f"{template.format(**fields)}.{leaf}"
    return key


def from_huggingface(state: State) -> State:
    """Our keys for a SegFormer of Hugging Face transformers, as its files name them.

    Both the segmentation network and the ImageNet classifier (``nvidia/mit-b*``) will do;
    the latter's own layer is dropped.
    """
    # A bare SegformerModel lacks the prefix that it has inside the other classes.
    state = {
        f"segformer.{key}" if key.startswith("encoder.") else key: value
        for key, value in state.items()
        if not key.startswith("classifier.")
    }
    ours = KeyMap(HUGGINGFACE).to_ours(state)
    for key in [key for key in ours if ".attn.k." in key]:
        value = key.replace(".attn.k.", ".attn.v.")
        if value in ours:
            joined = torch.cat([ours.pop(key), ours.pop(value)])
            ours[key.replace(".attn.k.", ".attn.kv.")] = joined
    return ours


def to_huggingface(state: State) -> State:
    """Inverse of :func:`from_huggingface` for a whole segmentation network."""
    parts = {}
    for key, value in state.items():
        if ".attn.kv." in key:
            parts[key.replace(".attn.kv.", ".attn.k.")] = value.chunk(2)[0]
            parts[key.replace(".attn.kv.", ".attn.v.")] = value.chunk(2)[1]
        else:
            parts[key] = value
    return KeyMap(HUGGINGFACE).to_theirs(parts)


def from_mmseg(state: State) -> State:
    """Our keys for the encoder of mmsegmentation 0.x and 1.x (``mit_b*_2022*.pth``)."""
    state = {key.replace("in_proj_", "in_proj."): value for key, value in state.items()}
    ours = KeyMap(MMSEG).to_ours(state)
    for key in list(ours):
        if ".attn.qkv." in key:
            query, key_value = ours[key].tensor_split([len(ours[key]) // 3])
            del ours[key]
            ours[key.replace(".qkv.", ".q.")] = query
            ours[key.replace(".qkv.", ".kv.")] = key_value
        elif key.endswith(("mlp.fc1.weight", "mlp.fc2.weight")):
            ours[key] = ours[key].flatten(1)  # there they are 1x1 convolutions
    return ours


def from_published(state: State, pvt: bool) -> State:
    """Our keys for the published SegFormer and PVTv2 names, with or without a decode head.

    An ImageNet classifier (``head.*``) is dropped.

    Args:
        state: tensors by published key.
        pvt: whether the encoder is PVTv2's, whose authors name its layers as SegFormer's are.
    """
    encoder, head = {}, {}
    for key, value in state.items():
        if key.startswith("linear_"):
            head[f"head.{key}"] = value
        elif not key.startswith("head."):
            encoder[key] = value
    return (from_timm(encoder) if pvt else with_prefix(encoder, "encoder.")) | head


def to_published(state: State) -> State:
    """Inverse of :func:`from_published` for a SegFormer."""
    return {key.removeprefix("encoder.").removeprefix("head."): v for key, v in state.items()}


def from_timm(state: State) -> State:
    """Our keys for an encoder of timm's PVTv2, or of its authors; ``head.*`` is dropped."""
    encoder = {key: value for key, value in state.items() if not key.startswith("head.")}
    return with_prefix(pvt_v2.checkpoint_filter_fn(encoder, None), PVT_PREFIX)


def with_prefix(state: State, prefix: str) -> State:
    """Return ``state`` with ``prefix`` put before every key."""
    return {prefix + key: value for key, value in state.items()}


def without_prefix(state: State, prefix: str) -> State:
    """Return those entries of ``state`` whose key begins with ``prefix``, without it."""
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
