"""The SegFormer family: its networks, and the names other code bases give tensors and files."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.encoder import attention_heads
from models.family import Family, HuggingFace, Layout, Size
from models.keys import KeyMap, State, starts, widening, with_prefix
from models.mit import BLOCK_EPS, DROP_PATH_RATE, MLP_RATIO, SR_RATIOS, MixTransformer
from models.segmenter import Segmenter

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

# The encoder as reimplemented in mmsegmentation 0.x and 1.x; the head there is different.
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

# Entries of a config.json that are the same for every network that can be built here.
FIXED = {
    "sr_ratios": list(SR_RATIOS),
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "hidden_act": "gelu",
}


def from_huggingface(state: State) -> State:
    """Translate a SegFormer of Hugging Face transformers to our keys.

    Both the segmentation network and the ImageNet classifier (`nvidia/mit-b*`) are accepted;
    the latter's classification layer is dropped.
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
    """Inverse of `from_huggingface` for a whole segmentation network."""
    parts = {}
    for key, value in state.items():
        if ".attn.kv." in key:
            parts[key.replace(".attn.kv.", ".attn.k.")] = value.chunk(2)[0]
            parts[key.replace(".attn.kv.", ".attn.v.")] = value.chunk(2)[1]
        else:
            parts[key] = value
    return KeyMap(HUGGINGFACE).to_theirs(parts)


def from_mmseg(state: State) -> State:
    """Translate the encoder of mmsegmentation 0.x and 1.x (`mit_b*_2022*.pth`) to our keys."""
    state = {key.replace("in_proj_", "in_proj."): value for key, value in state.items()}
    ours = KeyMap(MMSEG).to_ours(state)
    for key in list(ours):
        if ".attn.qkv." in key:
            query, key_value = ours[key].tensor_split([len(ours[key]) // 3])
            del ours[key]
            ours[key.replace(".qkv.", ".q.")] = query
            ours[key.replace(".qkv.", ".kv.")] = key_value
        elif key.endswith(("mlp.fc1.weight", "mlp.fc2.weight")):
            ours[key] = ours[key].flatten(1)  # 1x1 convolutions there
    return ours


def to_published(state: State) -> State:
    """Translate a whole network's state dict to the published SegFormer keys."""
    return {key.removeprefix("encoder.").removeprefix("head."): v for key, v in state.items()}


def _is_published(state: State, named: bool) -> bool:
    # PVTv2's authors use the same names for layers of other widths.
    return starts(state, "patch_embed1.") and widening(state) in (None, MLP_RATIO)


def _config(model: Segmenter) -> dict[str, Any]:
    encoder = model.encoder
    assert isinstance(encoder, MixTransformer)
    stages = [encoder.stage_blocks(stage) for stage in range(1, 5)]
    first = [blocks[0] for blocks in stages]
    return {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "num_channels": 3,
        "num_encoder_blocks": 4,
        "depths": [len(blocks) for blocks in stages],
        "hidden_sizes": list(model.widths),
        "num_attention_heads": [block.attn.num_heads for block in first],
        "mlp_ratios": [block.mlp.fc1.out_features // block.mlp.fc1.in_features for block in first],
        **FIXED,
        "sr_ratios": [block.attn.sr_ratio for block in first],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout_prob": model.head.dropout.p,
        "drop_path_rate": model.overrides.get("drop_path_rate", DROP_PATH_RATE),
        "layer_norm_eps": encoder.stage_norm(1).eps,
        "decoder_hidden_size": model.head.fused_width,
    }


def _overrides(
    config: Mapping[str, Any], widths: Sequence[int], depths: Sequence[int]
) -> dict[str, Any]:
    for entry, value in FIXED.items():
        if (said := config.get(entry, value)) != value:
            raise ValueError(f"{entry} {said} is not SegFormer's {value}")
    heads = tuple(config.get("num_attention_heads", (1, 2, 5, 8)))
    fitting = (w for w in range(1, max(widths) + 1) if attention_heads(widths, w) == heads)
    head_width = next(fitting, None)
    if head_width is None:
        raise ValueError(f"{heads} attention heads do not fit widths {widths}")
    overrides: dict[str, Any] = {}
    if config.get("layer_norm_eps", BLOCK_EPS) != BLOCK_EPS:
        overrides["norm_eps"] = config["layer_norm_eps"]
    registered = [s for s in SIZES.values() if (s.embed_dims, s.depths) == (widths, depths)]
    if not registered:
        overrides |= {"embed_dims": widths, "depths": depths, "head_width": head_width}
    elif attention_heads(widths, registered[0].options["head_width"]) != heads:
        overrides["head_width"] = head_width
    return overrides


def _size(number: int, head_dim: int, base: int, *depths: int) -> Size:
    """B0 to B5; `base` is the width of the first stage and of an attention head."""
    return Size(
        head_dim,
        embed_dims=(base, base * 2, base * 5, base * 8),
        depths=depths,
        pretrained=f"mit_b{number}.pth",
        fields=f"fields_b{number}.safetensors",
        options={"head_width": base},
    )


SIZES = {
    "SegformerB0": _size(0, 256, 32, 2, 2, 2, 2),
    "SegformerB1": _size(1, 256, 64, 2, 2, 2, 2),
    "SegformerB2": _size(2, 768, 64, 3, 4, 6, 3),
    "SegformerB3": _size(3, 768, 64, 3, 4, 18, 3),
    "SegformerB4": _size(4, 768, 64, 3, 8, 27, 3),
    "SegformerB5": _size(5, 768, 64, 3, 6, 40, 3),
}

SEGFORMER = Family(
    "SegFormer",
    MixTransformer,
    SIZES,
    block_key=r"block(?P<stage>\d)\.(?P<block>\d+)\.norm1\.weight",
    layouts=(
        Layout(
            "huggingface",
            "a SegFormer of Hugging Face transformers",
            lambda state, _: starts(state, "segformer.encoder.", "encoder.patch_embeddings."),
            from_huggingface,
        ),
        Layout(
            "mmseg",
            "a SegFormer encoder in mmsegmentation's own layout; its head is another network",
            lambda state, _: starts(state, "layers.0.0.projection."),
            from_mmseg,
            keeps_head=False,
        ),
        Layout(
            "nvlabs-backbone",
            "a SegFormer encoder, published layout",
            _is_published,
            lambda state: with_prefix(state, "encoder."),
        ),
    ),
    config_kind="segformer",
    huggingface=HuggingFace(to_huggingface, _config, _overrides),
    to_published=to_published,
)
