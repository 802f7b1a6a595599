"""Hugging Face folders, against the installed transformers."""

import json

import pytest
import torch

from models import build_model, load_checkpoint
from models.huggingface import save_huggingface
from models.loading import load_backbone
from models.saving import save_checkpoint

transformers = pytest.importorskip("transformers")


def randomised(model):
    """Weights far enough from their initial values that a swapped pair would show."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        model.head.linear_fuse.bn.running_mean.normal_()
        model.head.linear_fuse.bn.running_var.uniform_(0.5, 1.5)
    return model.eval()


def logits_of(folder, images):
    network = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    with torch.no_grad():
        return network(images).logits


@pytest.mark.parametrize("size", [0, 1, 2, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_export_gives_the_same_logits(size, tmp_path):
    model = randomised(build_model(f"SegformerB{size}", num_classes=3))
    images = torch.rand(1, 3, 64, 96)

    save_huggingface(model, tmp_path / "export", ["soil", "crop", "weed"])
    with torch.no_grad():
        expected = model(images)

    # Its norms all have an epsilon of 1e-5, whatever the configuration says.
    torch.testing.assert_close(logits_of(tmp_path / "export", images), expected, rtol=0, atol=1e-4)
    again, info = load_checkpoint(tmp_path / "export")
    assert (info["format"], info["architecture"]) == ("huggingface", f"SegformerB{size}")
    assert info["classes"] == ["soil", "crop", "weed"]
    for key, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


@pytest.fixture
def theirs():
    """A small network built by transformers, of a shape that none of ours has."""
    torch.manual_seed(1)
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 2, 1, 1], num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16, num_labels=4,
    )  # fmt: skip
    network = transformers.SegformerForSemanticSegmentation(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


def test_folder_that_transformers_wrote(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    images = torch.rand(2, 3, 64, 96)

    model, info = load_checkpoint(tmp_path)

    assert info["classes"] is None  # LABEL_0 and so on name nothing
    assert info["overrides"]["embed_dims"] == (8, 16, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs(images).logits, rtol=0, atol=1e-4)


def test_pickled_weights_of_older_folders(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    import safetensors.torch

    torch.save(
        safetensors.torch.load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin"
    )
    expected = load_checkpoint(tmp_path)[0].state_dict()
    (tmp_path / "model.safetensors").unlink()

    model, _ = load_checkpoint(tmp_path)

    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_epsilon_of_the_configuration(tiny_model, tmp_path):
    save_huggingface(tiny_model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["layer_norm_eps"] == 1e-6
    (tmp_path / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-5}))

    model, info = load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "ours.pth", model, info)
    again, _ = load_checkpoint(tmp_path / "ours.pth")

    for network in (model, again):
        assert network.encoder.norm2.eps == network.encoder.block3[0].norm1.eps == 1e-5
    assert load_exported_eps(model, tmp_path / "again") == 1e-5


def load_exported_eps(model, folder):
    save_huggingface(model, folder)
    return json.loads((folder / "config.json").read_text())["layer_norm_eps"]


def test_description_survives(tiny_model, tmp_path):
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "image_size": [64, 96]}
    described = {
        "classes": ["soil", "crop", "weed"],
        "palette": [[0, 0, 0], [0, 255, 0], [255, 0, 0]],
        "dataset": "CWFID",
        "method": "sekd-ct",
        "metrics": {"miou": 0.7},
        "preprocessing": preprocessing | {"protocol": "standard"},
    }

    save_huggingface(tiny_model, tmp_path, described["classes"], described)
    _, info = load_checkpoint(tmp_path)

    assert {key: info[key] for key in described} == described
    processor = transformers.SegformerImageProcessor.from_pretrained(tmp_path)
    pixels = processor(torch.zeros(3, 30, 30, dtype=torch.uint8), return_tensors="pt")
    assert tuple(pixels["pixel_values"].shape) == (1, 3, 64, 96)
    torch.testing.assert_close(
        pixels["pixel_values"][0, :, 0, 0], torch.tensor([-0.25, -0.4, -0.5])
    )


def test_preprocessing_without_our_own_file(tiny_model, tmp_path):
    save_huggingface(tiny_model, tmp_path, None, {"preprocessing": {"image_size": [32, 48]}})
    (tmp_path / "sekd.json").unlink()
    assert load_checkpoint(tmp_path)[1]["preprocessing"]["image_size"] == [32, 48]

    # As the first releases were described: one number, and a feature extractor.
    older = {"do_normalize": True, "do_resize": True, "size": 512, "image_mean": [0, 0, 0]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(older | {"image_std": [1, 1, 1]}))
    preprocessing = load_checkpoint(tmp_path)[1]["preprocessing"]
    assert preprocessing["image_size"] == [512, 512]
    assert preprocessing["std"] == [1, 1, 1]

    unchanged = {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(unchanged))
    preprocessing = load_checkpoint(tmp_path)[1]["preprocessing"]
    assert (preprocessing["mean"], preprocessing["std"]) == ([0, 0, 0], [1, 1, 1])


def test_other_heads_than_the_named_network_has(tmp_path):
    """Attention heads leave no trace in the shapes of tensors, only in the configuration."""
    model = build_model("SegformerB0", 3, head_width=64, drop_path_rate=0.3).eval()
    save_huggingface(model, tmp_path)
    read, _ = load_checkpoint(tmp_path)
    assert [blocks[0].attn.num_heads for blocks in map(read.encoder.stage_blocks, range(1, 5))] == [
        blocks[0].attn.num_heads for blocks in map(model.encoder.stage_blocks, range(1, 5))
    ]
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(read.eval()(images), model(images))
    assert json.loads((tmp_path / "config.json").read_text())["drop_path_rate"] == 0.3


@pytest.mark.parametrize("part", ["classifier", "encoder"])
def test_imagenet_backbone(part, tmp_path):
    config = transformers.SegformerConfig(num_labels=10)
    network = transformers.SegformerForImageClassification(config)
    (network if part == "classifier" else network.segformer).save_pretrained(tmp_path)
    model = build_model("SegformerB0", num_classes=2)

    info = load_backbone(model, tmp_path)

    assert info["format"] == "huggingface"
    stage = network.segformer.stages[1]
    assert torch.equal(model.encoder.norm2.weight, stage.layer_norm.weight)
    keys = torch.cat(
        [stage.blocks[1].attention.k_proj.weight, stage.blocks[1].attention.v_proj.weight]
    )
    assert torch.equal(model.encoder.block2[1].attn.kv.weight, keys)


def test_timm_folder(tmp_path):
    import safetensors.torch
    import timm

    network = timm.create_model("pvt_v2_b0", num_classes=10)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "pvt_v2_b0", "num_classes": 10}')
    model = build_model("PVTv2B0", num_classes=2)

    assert load_backbone(model, tmp_path)["format"] == "timm"


def test_refused_exports(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="2 class names for a model of 3"):
        save_huggingface(tiny_model, tmp_path / "a", ["soil", "crop"])
    pvt = build_model("PVTv2B0", 3, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), head_dim=16)
    with pytest.raises(ValueError, match="PVTv2B0 has no Hugging Face layout"):
        save_huggingface(pvt, tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="in the way"):
        save_huggingface(tiny_model, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "beit"}, "describes beit; known: segformer"),
        (
            {"sr_ratios": [4, 4, 2, 1]},
            r"sr_ratios .* is not SegFormer's \[8, 4, 2, 1\]",
        ),
        ({"hidden_act": "relu"}, "hidden_act relu is not SegFormer's gelu"),
        ({"strides": [2, 2, 2, 2]}, "strides .* is not SegFormer's"),
        ({"num_attention_heads": [4, 1, 1, 1]}, "attention heads do not fit"),
    ],
)
def test_refused_configurations(changed, message, tiny_model, tmp_path):
    save_huggingface(tiny_model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(ValueError, match=message):
        load_checkpoint(tmp_path)


def test_broken_folders(tiny_model, tmp_path):
    save_huggingface(tiny_model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"too short")
    with pytest.raises(ValueError, match="model.safetensors: not a weight file, or a truncated"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no model.safetensors or pytorch_model.bin"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is not JSON"):
        load_checkpoint(tmp_path)
