"""Every published layout, written here key by key and read back to the reference logits."""

import re

import pytest
import torch

from models import build_model, load_checkpoint
from models.loading import load_backbone

NAME = "segformer_b0_3cls"


@pytest.fixture(scope="module")
def reference(golden, fill_golden, golden_tensor):
    """Published B0 weights, the reference images, and what the logits must be."""
    entry = golden("sekd")["models"][NAME]
    image = golden_tensor("image", (2, 3, 128, 128), 0, 1)
    return fill_golden(entry["state_dict"]), image, entry["logits"]


def assert_logits(model, image, expected):
    with torch.no_grad():
        logits = model(image)
    assert list(logits.shape) == expected["shape"]
    assert logits.mean().item() == pytest.approx(expected["mean"], rel=1e-4)
    assert logits.std().item() == pytest.approx(expected["std"], rel=1e-4)
    flat = logits.flatten()
    torch.testing.assert_close(flat[:4], torch.tensor(expected["first"]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(flat[-4:], torch.tensor(expected["last"]), rtol=1e-4, atol=1e-4)


def segmentor(published, classifier):
    """The layout of NVlabs: backbone. and decode_head. prefixes."""
    out = {}
    for key, value in published.items():
        prefix = "decode_head." if key.startswith("linear_") else "backbone."
        out[prefix + key.replace("linear_pred", classifier)] = value
    return out


LAYOUTS = {
    "bare": ("published", lambda p: p),
    "several GPUs": ("published", lambda p: {f"module.{k}": v for k, v in p.items()}),
    "pth.tar": (
        "published",
        lambda p: {"epoch": 7, "arch": "X", "best_acc": 0.5, "state_dict": p, "optimizer": {}},
    ),
    "NVlabs": (
        "nvlabs-segmentor",
        lambda p: {
            "meta": {"CLASSES": ("a", "b", "c"), "PALETTE": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]},
            # The inherited classifier that its head never calls.
            "state_dict": segmentor(p, "linear_pred")
            | {"decode_head.conv_seg.weight": torch.ones(3, 128, 1, 1)}
            | {"decode_head.conv_seg.bias": torch.ones(3)},
        },
    ),
    "mmseg classifier": ("nvlabs-segmentor", lambda p: segmentor(p, "conv_seg")),
    "student only": ("published", lambda p: {f"student.{k}": v for k, v in p.items()}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_gives_reference_logits(layout, reference, tmp_path):
    published, image, expected = reference
    kind, write = LAYOUTS[layout]
    torch.save(write(published), tmp_path / "weights.pth")

    model, info = load_checkpoint(tmp_path / "weights.pth")

    assert (info["format"], info["architecture"], model.num_classes) == (kind, "SegformerB0", 3)
    assert info["adapters"] is None
    assert not model.training
    assert_logits(model, image, expected)


def test_what_files_say_beside_weights(reference, tmp_path):
    published, _, _ = reference
    torch.save(LAYOUTS["NVlabs"][1](published), tmp_path / "nvlabs.pth")
    torch.save(LAYOUTS["pth.tar"][1](published), tmp_path / "model.pth.tar")

    nvlabs = load_checkpoint(tmp_path / "nvlabs.pth")[1]
    ours = load_checkpoint(tmp_path / "model.pth.tar")[1]

    assert nvlabs["classes"] == ["a", "b", "c"]
    assert nvlabs["palette"][2] == [2, 2, 2]
    assert nvlabs["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert ours["classes"] is None
    assert ours["metrics"] == {"epoch": 7, "best_acc": 0.5}
    assert ours["preprocessing"]["mean"] == [0, 0, 0]  # its code does not normalise images


WRAPPED = [("sekd", "sekd_b0_to_b3_3cls", "published-sekd", "embed_projections.0.weight")] + [
    ("transkd", name, "published-transkd", key)
    for name, key in {
        "transkd_base": "embed1_linearproject.weight",
        "transkd_gl": "attn4.qkv.weight",
        "transkd_ea": "patch_embed1.proj.weight",
        "reviewkd": "abfs.1.att_conv.0.weight",
    }.items()
]


@pytest.mark.parametrize(("file", "name", "kind", "adapter"), WRAPPED)
def test_wrapped_student(file, name, kind, adapter, golden, fill_golden, golden_tensor, tmp_path):
    entry = golden(file)["models"][name]
    state = fill_golden(entry["state_dict"])
    torch.save({"state_dict": state}, tmp_path / "student.pth.tar")

    model, info = load_checkpoint(tmp_path / "student.pth.tar")

    assert (info["format"], info["architecture"]) == (kind, "SegformerB0")
    assert torch.equal(info["adapters"][adapter], state[adapter])
    assert not any(key.startswith("student.") for key in info["adapters"])
    assert len(info["adapters"]) + len(model.state_dict()) == len(state)
    image = golden_tensor("image", (2, 3, 128, 128), 0, 1)
    assert_logits(model, image, entry["logits"])


def test_larger_networks_are_told_apart(golden, fill_golden, golden_tensor, tmp_path):
    entry = golden("sekd")["models"]["segformer_b3_3cls"]
    torch.save(fill_golden(entry["state_dict"]), tmp_path / "teacher.pth")

    model, info = load_checkpoint(tmp_path / "teacher.pth", model="segformerb3", num_classes=3)

    assert info["architecture"] == "SegformerB3"
    assert_logits(model, golden_tensor("image", (2, 3, 128, 128), 0, 1), entry["logits"])


def backbone_of(published):
    """The layout of mit_b0.pth, with its classifier of 1000 ImageNet classes."""
    encoder = {k: v for k, v in published.items() if not k.startswith("linear_")}
    return encoder | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}


def mmseg_of(published):
    """The encoder as mmsegmentation's own converter writes it."""
    out = {}
    for key, value in backbone_of(published).items():
        key = re.sub(r"^patch_embed(\d)", lambda m: f"layers.{int(m[1]) - 1}.0", key)
        key = re.sub(r"^block(\d)", lambda m: f"layers.{int(m[1]) - 1}.1", key)
        key = re.sub(r"^norm(\d)", lambda m: f"layers.{int(m[1]) - 1}.2", key)
        key = re.sub(r"(\.0)\.proj\.", r"\1.projection.", key) if ".attn." not in key else key
        if ".mlp." in key:
            numbers = {"fc1": "0", "dwconv.dwconv": "1", "fc2": "4"}
            name = key.split(".mlp.")[1].rpartition(".")[0]
            value = value[:, :, None, None] if value.ndim == 2 else value
            key = key.replace(f".mlp.{name}", f".ffn.layers.{numbers[name]}")
        if ".attn.kv." in key:
            continue
        if ".attn.q." in key:
            leaf = key.rpartition(".")[2]
            pair = re.sub(r"layers\.(\d)\.1", lambda m: f"block{int(m[1]) + 1}", key)
            value = torch.cat([value, published[pair.replace(".q.", ".kv.")]])
            key = key.replace(f".q.{leaf}", f".attn.in_proj_{leaf}")
        out[key.replace(".attn.proj.", ".attn.attn.out_proj.")] = value
    return {key: value for key, value in out.items() if not key.startswith("head.")}


@pytest.mark.parametrize(("kind", "write"), [("nvlabs-backbone", backbone_of), ("mmseg", mmseg_of)])
def test_pretrained_encoder(kind, write, reference, tmp_path):
    published, _, _ = reference
    torch.save(write(published), tmp_path / "mit_b0.pth")
    model = build_model("SegformerB0", num_classes=5)
    head = {key: value.clone() for key, value in model.head.state_dict().items()}

    info = load_backbone(model, tmp_path / "mit_b0.pth")

    assert info["format"] == kind
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, published[key]), key
    for key, value in model.head.state_dict().items():
        assert torch.equal(value, head[key]), key


def test_encoder_alone_needs_a_class_count(reference, tmp_path):
    torch.save(backbone_of(reference[0]), tmp_path / "mit_b0.pth")

    with pytest.raises(ValueError, match="without a head.*--pretrained.*--num-classes"):
        load_checkpoint(tmp_path / "mit_b0.pth")
    model, info = load_checkpoint(tmp_path / "mit_b0.pth", num_classes=4)

    assert (model.num_classes, info["format"]) == (4, "nvlabs-backbone")


def test_backbone_of_a_whole_network(reference, tmp_path):
    published, _, _ = reference
    torch.save(segmentor(published, "linear_pred"), tmp_path / "segformer.pth")
    model = build_model("SegformerB0", num_classes=9)

    load_backbone(model, tmp_path / "segformer.pth")

    assert torch.equal(model.encoder.norm4.weight, published["norm4.weight"])


def authors_names(timm_state):
    """PVTv2 as its authors name it, from timm's names."""
    out = {}
    for key, value in timm_state.items():
        key = re.sub(r"^patch_embed\.", "patch_embed1.", key)
        key = re.sub(r"^stages\.(\d)\.downsample", lambda m: f"patch_embed{int(m[1]) + 1}", key)
        key = re.sub(r"^stages\.(\d)\.blocks", lambda m: f"block{int(m[1]) + 1}", key)
        key = re.sub(r"^stages\.(\d)\.norm", lambda m: f"norm{int(m[1]) + 1}", key)
        out[key.replace("mlp.dwconv.", "mlp.dwconv.dwconv.")] = value
    return out


@pytest.mark.parametrize(("size", "rename"), [(0, dict), (0, authors_names), (1, authors_names)])
def test_pvt_encoder(size, rename, tmp_path):
    timm = pytest.importorskip("timm")
    source = timm.create_model(f"pvt_v2_b{size}", num_classes=10)
    torch.save(rename(source.state_dict()), tmp_path / "pvt.pth")
    model = build_model(f"PVTv2B{size}", num_classes=2)

    info = load_backbone(model, tmp_path / "pvt.pth")
    whole, described = load_checkpoint(tmp_path / "pvt.pth", num_classes=2)

    assert info["format"] == described["format"] == "timm"
    assert described["architecture"] == f"PVTv2B{size}"
    loaded = model.encoder.backbone.state_dict()
    for key, value in source.state_dict().items():
        if not key.startswith("head."):
            assert torch.equal(loaded[key], value), key
    assert torch.equal(whole.encoder.backbone.stages[3].norm.weight, source.stages[3].norm.weight)


def test_names_of_pvt_b5_are_settled_by_the_network(tmp_path):
    # PVTv2-B5 and SegFormer-B5 have the same tensors under the same names.
    overrides = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}
    source = build_model("PVTv2B5", num_classes=2, **overrides)
    torch.save(authors_names(source.encoder.backbone.state_dict()), tmp_path / "pvt_v2_b5.pth")
    model = build_model("PVTv2B5", num_classes=2, **overrides)

    load_backbone(model, tmp_path / "pvt_v2_b5.pth")

    expected = source.encoder.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in model.encoder.state_dict().items())
