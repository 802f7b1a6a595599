"""Whole networks: golden values, Hugging Face's SegFormer, any size, determinism."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from models import Segmenter, build_model

GOLDEN = [
    ("sekd", "segformer_b0_3cls", "SegformerB0", 3),
    ("sekd", "segformer_b3_3cls", "SegformerB3", 3),
    ("transkd", "segformer_b2_20cls", "SegformerB2", 20),
]


def published(key: str) -> str:
    """The published checkpoints have no prefix for encoder and head."""
    return key.split(".", 1)[1]


def check_summary(x: torch.Tensor, expected: dict) -> None:
    """Compare shape, mean, standard deviation and both ends of `x` in memory order."""
    assert list(x.shape) == expected["shape"]
    flat = x.flatten().double()
    got = [flat.mean(), flat.std(), *flat[:4], *flat[-4:]]
    want = [expected["mean"], expected["std"], *expected["first"], *expected["last"]]
    assert [value.item() for value in got] == pytest.approx(want, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("file", "key", "name", "classes"), GOLDEN, ids=[g[1] for g in GOLDEN])
def test_golden_values(golden, golden_tensor, fill_golden, file, key, name, classes):
    reference = golden(file)
    expected = reference["models"][key]
    model = build_model(name, classes).eval()
    state = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    listing = {published(k): list(v.shape) for k, v in state.items()}
    assert list(listing.items()) == list(expected["state_dict"].items())

    model.load_state_dict(fill_golden(state, name=published))
    size = reference["image_size"]
    with torch.inference_mode():
        out = model.forward_intermediates(golden_tensor("image", (2, 3, size, size), 0, 1))
        plain = model.head.classify(model.head.fuse_plain(out.features))
    check_summary(out.logits, expected["logits"])
    check_summary(plain, expected["logits"])
    for feature, summary in zip(out.features, expected["features"], strict=True):
        check_summary(feature, summary)
    for embedding, summary in zip(out.embeddings, expected["embeddings"], strict=True):
        check_summary(embedding.flatten(2).transpose(1, 2), summary)


# Our keys -> those of a Hugging Face folder, written down here anew to pin both. Stages count
# from 1 here and from 0 there: {s} stands for the latter.
HF_ENCODER = {
    r"patch_embed(\d)\.proj": "patch_embeddings.{s}.proj",
    r"patch_embed(\d)\.norm": "patch_embeddings.{s}.layer_norm",
    r"block(\d)\.(\d+)\.norm1": "block.{s}.{j}.layer_norm_1",
    r"block(\d)\.(\d+)\.norm2": "block.{s}.{j}.layer_norm_2",
    r"block(\d)\.(\d+)\.attn\.q": "block.{s}.{j}.attention.self.query",
    r"block(\d)\.(\d+)\.attn\.sr": "block.{s}.{j}.attention.self.sr",
    r"block(\d)\.(\d+)\.attn\.norm": "block.{s}.{j}.attention.self.layer_norm",
    r"block(\d)\.(\d+)\.attn\.proj": "block.{s}.{j}.attention.output.dense",
    r"block(\d)\.(\d+)\.mlp\.fc1": "block.{s}.{j}.mlp.dense1",
    r"block(\d)\.(\d+)\.mlp\.fc2": "block.{s}.{j}.mlp.dense2",
    r"block(\d)\.(\d+)\.mlp\.dwconv\.dwconv": "block.{s}.{j}.mlp.dwconv.dwconv",
    r"norm(\d)": "layer_norm.{s}",
}
HF_HEAD = {
    "linear_fuse.conv": "linear_fuse",
    "linear_fuse.bn": "batch_norm",
    "linear_pred": "classifier",
    **{f"linear_c{s + 1}.proj": f"linear_c.{s}.proj" for s in range(4)},
}


def huggingface_state(model: Segmenter) -> dict[str, torch.Tensor]:
    state = {}
    for key, value in model.state_dict().items():
        part, rest = key.split(".", 1)
        module, leaf = rest.rsplit(".", 1)
        if part == "head":
            state[f"decode_head.{HF_HEAD[module]}.{leaf}"] = value
        elif match := re.fullmatch(r"block(\d)\.(\d+)\.attn\.kv", module):
            prefix = f"segformer.encoder.block.{int(match[1]) - 1}.{match[2]}.attention.self"
            state[f"{prefix}.key.{leaf}"], state[f"{prefix}.value.{leaf}"] = value.chunk(2)
        else:
            name, match = next(
                (name, m) for p, name in HF_ENCODER.items() if (m := re.fullmatch(p, module))
            )
            name = name.format(s=int(match[1]) - 1, j=match[match.lastindex])
            state[f"segformer.encoder.{name}.{leaf}"] = value
    return {key: value.contiguous().clone() for key, value in state.items()}


@pytest.mark.parametrize(
    ("overrides", "config"),
    [
        (
            {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 2), "head_dim": 20},
            {
                "hidden_sizes": [8, 16, 24, 32],
                "depths": [1, 2, 1, 2],
                "decoder_hidden_size": 20,
                "num_attention_heads": [1, 1, 1, 1],
            },
        ),
        ({}, {}),  # B0 is the default of both
    ],
    ids=["tiny", "B0"],
)
def test_logits_equal_huggingface(tmp_path, overrides, config):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = build_model("SegformerB0", 7, **overrides).eval()
    bn = model.head.linear_fuse.bn
    for tensor in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 1.5)
    transformers.SegformerConfig(num_labels=7, **config).save_pretrained(tmp_path)
    save_file(huggingface_state(model), tmp_path / "model.safetensors", {"format": "pt"})
    theirs, report = transformers.SegformerForSemanticSegmentation.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    for size in [(64, 64), (75, 102)]:
        images = torch.randn(2, 3, *size)
        with torch.inference_mode():
            expected = theirs.eval()(images).logits
            torch.testing.assert_close(model(images), expected, atol=1e-4, rtol=1e-4)


@settings(max_examples=12, deadline=None)
@given(height=st.integers(32, 99), width=st.integers(32, 99), batch=st.integers(1, 2))
def test_any_size(height, width, batch):
    torch.manual_seed(0)
    model = build_model("segformerb0", 3, embed_dims=(8, 8, 8, 8), depths=(1,) * 4, head_dim=8)
    images = torch.randn(batch, 3, height, width)
    with torch.inference_mode():
        out = model.eval().forward_intermediates(images)
        logits = model(images)
    assert logits.shape == (batch, 3, -(-height // 4), -(-width // 4))
    assert torch.equal(logits, out.logits)  # and evaluation is deterministic
    assert out.images is images
    assert [x.shape[1] for x in out.features] == [x.shape[1] for x in out.embeddings]


def test_images_of_a_batch_do_not_mix_in_eval(tiny_model):
    images = torch.randn(3, 3, 40, 56)
    together = tiny_model(images)
    alone = torch.cat([tiny_model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_small_images_are_refused(tiny_model):
    with pytest.raises(ValueError, match="31x32"):
        tiny_model(torch.zeros(1, 3, 31, 32))


def test_training_step_reaches_every_parameter(build_tiny):
    model = build_tiny(drop_path_rate=0.0, dropout=0.0).train()
    model(torch.randn(2, 3, 64, 48)).square().mean().backward()
    missing = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert not missing


def test_bfloat16_autocast_trains(build_tiny):
    model = build_tiny().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(torch.randn(2, 3, 64, 64)).float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_compiles_without_graph_breaks(build_tiny, training):
    model = build_tiny(drop_path_rate=0.0, dropout=0.0).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    images = torch.randn(2, 3, 40, 56)
    torch.testing.assert_close(compiled(images), model(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["SegformerB0", "PVTv2B0"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_what_lies_before_norms_and_classifier(name, training):
    torch.manual_seed(0)
    options = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}
    model = build_model(name, num_classes=3, dropout=0.0, **options).train(training)
    out = model.forward_intermediates(torch.rand(2, 3, 45, 70))
    assert out.fused.shape == (2, 16, 12, 18)
    assert torch.equal(model.head.linear_pred(out.fused), out.logits)
    for stage, (before, after) in enumerate(zip(out.before_norm, out.features, strict=True)):
        norm = model.encoder.stage_norm(stage + 1)
        normed = norm(before.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(normed, after)
        assert before.square().mean(1).std() > 1e-3  # pixels differ in energy here only


def test_without_the_head_there_is_neither_fused_map_nor_logits(tiny_model):
    out = tiny_model.forward_intermediates(torch.rand(1, 3, 32, 32), with_head=False)
    assert out.logits is None and out.fused is None and len(out.features) == 4
