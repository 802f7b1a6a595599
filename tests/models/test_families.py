"""What every network family must do, whatever its layers are."""

import re

import pytest
import torch

from models import build_model, load_checkpoint, save_checkpoint
from models.huggingface import save_huggingface
from models.loading import load_backbone
from models.registry import FAMILIES

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1), "head_dim": 16}
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def tiny(family, seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model(next(iter(family.sizes)), 3, **TINY | overrides).eval()


@each_family
@pytest.mark.parametrize("size", [(32, 32), (45, 70), (97, 33)])
def test_maps_of_any_size(family, size):
    model = tiny(family)
    out = model.forward_intermediates(torch.rand(2, 3, *size))
    expected = [
        (2, width, -(-size[0] // stride), -(-size[1] // stride))
        for width, stride in zip(TINY["embed_dims"], (4, 8, 16, 32), strict=True)
    ]
    for maps in (out.features, out.embeddings, out.before_norm):
        assert [tuple(x.shape) for x in maps] == expected
    assert out.logits.shape == (2, 3, *expected[0][2:])
    assert (model.widths, model.fused_width) == (TINY["embed_dims"], out.fused.shape[1])


@each_family
def test_images_that_it_cannot_take(family):
    model = tiny(family)
    for images in (torch.zeros(1, 3, 31, 64), torch.zeros(1, 1, 64, 64), torch.zeros(3, 64, 64)):
        with pytest.raises(ValueError, match="images"):
            model(images)


@each_family
def test_a_class_map_reads_what_becomes_the_feature(family):
    model, yielded = tiny(family), []
    for stage in (1, 2, 3, 4):
        norm = model.encoder.stage_norm(stage)
        norm.register_forward_hook(lambda *call: yielded.append(call[-1]))
    features = model.forward_intermediates(torch.rand(2, 3, 45, 70)).features
    for feature, values in zip(features, yielded, strict=True):
        pixels_first = feature.permute(0, 2, 3, 1)
        torch.testing.assert_close(values.reshape(pixels_first.shape), pixels_first)


@each_family
def test_blocks_share_out_all_parameters(family):
    encoder = tiny(family).encoder
    blocks = encoder.blocks()
    assert len(blocks) == sum(TINY["depths"])
    members = [id(parameter) for block in blocks for parameter in block]
    assert sorted(members) == sorted(map(id, encoder.parameters()))


@each_family
def test_training_reaches_every_parameter(family):
    model = tiny(family, drop_path_rate=0.0, dropout=0.0).train()
    model(torch.rand(2, 3, 64, 48)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@each_family
def test_drop_path_rate_is_that_of_the_blocks(family):
    images = torch.rand(1, 3, 64, 64)

    def outputs(rate):
        model = tiny(family, drop_path_rate=rate, dropout=0.0)
        model.encoder.train()
        return {model(images).sum().item() for _ in range(8)}

    assert len(outputs(0.0)) == 1 and len(outputs(0.9)) > 1


@each_family
def test_a_checkpoint_gives_the_same_network(family, tmp_path):
    model, images = tiny(family), torch.rand(1, 3, 45, 70)
    save_checkpoint(tmp_path / "a.pth", model, {})
    again, info = load_checkpoint(tmp_path / "a.pth")
    assert (info["architecture"], again.name) == (model.name, model.name)
    assert torch.equal(again(images), model(images))
    other = tiny(family, seed=1)
    load_backbone(other, tmp_path / "a.pth")
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(other.encoder.state_dict()[key], value), key


@each_family
def test_tensors_alone_tell_family_and_size(family, tmp_path):
    for name in list(family.sizes)[:2]:
        model = build_model(name, num_classes=2)
        torch.save(model.state_dict(), tmp_path / "bare.pth")
        again, info = load_checkpoint(tmp_path / "bare.pth")
        assert (info["format"], info["architecture"], again.num_classes) == ("sekd", name, 2)


@each_family
def test_pretrained_files_have_names_of_their_own(family):
    names = [size.pretrained for family in FAMILIES for size in family.sizes.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"\w+\.(pth|safetensors)", s.pretrained) for s in family.sizes.values())


@each_family
def test_hugging_face_has_it_or_the_export_says_no(family, tmp_path):
    model, images = tiny(family), torch.rand(1, 3, 45, 70)
    if family.huggingface is None:
        with pytest.raises(ValueError, match=f"{model.name} has no Hugging Face layout"):
            save_huggingface(model, tmp_path / "folder")
        assert not (tmp_path / "folder").exists()
        return
    save_huggingface(model, tmp_path / "folder")
    again, _ = load_checkpoint(tmp_path / "folder")
    torch.testing.assert_close(again(images), model(images))
