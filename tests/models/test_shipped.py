import pytest
import torch

from conventions.preprocessing import Preprocessing
from datasets.synthetic import Synthetic
from eval.inference import WHOLE
from eval.photographs.predictor import Predictor
from models import build_model, files, load_checkpoint, shipped
from models.loading import load_backbone, load_start
from models.weights import main as weights_main

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}
INFO = {
    "classes": ["soil", "crop", "weed"],
    "preprocessing": {"mean": [0.5] * 3, "std": [0.25] * 3, "image_size": 96},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Shipped weights of a tiny stand-in for SegformerB0."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    torch.manual_seed(0)
    network = build_model("SegformerB0", 3, **TINY)
    shipped.save_shipped(tmp_path / "fields_b0.safetensors", network, INFO)
    return tmp_path, network


def test_fields_is_a_whole_network_that_describes_itself(folder):
    loaded, info = load_checkpoint("fields")
    assert info["classes"] == INFO["classes"]
    assert info["preprocessing"]["image_size"] == 96
    for key, value in folder[1].state_dict().items():
        assert torch.equal(loaded.state_dict()[key].half(), value.half()), key
    assert loaded.head.linear_pred.weight.dtype == torch.float32


def test_others_may_read_the_file(folder):
    (folder[0] / "plain").touch()
    modes = {name: (folder[0] / name).stat().st_mode for name in ("plain", "fields_b0.safetensors")}
    assert len(set(modes.values())) == 1, modes


def test_its_encoder_starts_a_network_of_other_classes(folder):
    network = build_model("SegformerB0", 7, **TINY)
    load_backbone(network, "fields")
    for key, value in folder[1].encoder.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[key].half(), value.half()), key


@pytest.mark.parametrize(
    ("classes", "classifier"),
    [
        (["soil", "crop", "weed"], True),
        (["Soil", "CROP", "weed"], True),
        (["soil", "weed", "crop"], False),  # as many, in another order
        (["soil", "beet", "carrot", "grass"], False),
    ],
)
def test_all_of_it_is_a_start_and_the_classifier_for_the_same_classes(folder, classes, classifier):
    network = build_model("SegformerB0", len(classes), **TINY)
    fresh = {key: value.clone() for key, value in network.head.linear_pred.state_dict().items()}
    info = load_start(network, "fields", classes)
    assert info["fresh_classifier"] is not classifier and info["architecture"] == "SegformerB0"
    state = network.state_dict()
    for key, value in folder[1].state_dict().items():
        if not key.startswith("head.linear_pred."):
            assert torch.equal(state[key].half(), value.half()), key
    for key, value in network.head.linear_pred.state_dict().items():
        wanted = folder[1].head.linear_pred.state_dict()[key].half().float() if classifier else None
        assert torch.equal(value, fresh[key] if wanted is None else wanted), key


@pytest.mark.parametrize("classes", [["soil", "crop", "weed"], ["soil", "beet"]])
def test_a_larger_network_starts_with_what_the_smaller_one_computes(folder, classes):
    small = load_checkpoint("fields")[0]
    large = build_model(
        "SegformerB2", len(classes), **TINY | {"depths": (2, 1, 3, 1), "head_dim": 48}
    ).eval()
    assert load_start(large, "fields", classes)["architecture"] == "SegformerB0"
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        before, after = (net.forward_intermediates(images, True) for net in (small, large))
    for one, two in zip(before.features, after.features, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
    if len(classes) == 3:
        torch.testing.assert_close(after.logits, before.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.fused[:, ::3], before.fused, rtol=1e-4, atol=1e-5)


def test_a_network_of_its_own_file_takes_that(folder):
    own = build_model("SegformerB1", 3, **TINY)
    shipped.save_shipped(folder[0] / "fields_b1.safetensors", own, INFO)
    assert shipped.find_start("SegformerB0").name == "fields_b0.safetensors"
    assert shipped.find_start("segformerb1").name == "fields_b1.safetensors"
    assert shipped.find_start("SegformerB4").name == "fields_b1.safetensors"
    network = build_model("SegformerB1", 3, **TINY)
    load_start(network, "fields", INFO["classes"])
    for key, value in own.state_dict().items():
        assert torch.equal(network.state_dict()[key].half(), value.half()), key


def test_a_network_of_another_family_does_not_grow_from_it(folder):
    names = ", ".join(f"SegformerB{size}" for size in range(6))
    with pytest.raises(ValueError, match=f"come for {names}, not for PVTv2B1"):
        load_start(build_model("PVTv2B1", 3), "fields", INFO["classes"])
    assert files.digest_start("PVTv2B1") is None
    assert files.digest_start("SegformerB3") == files.digest_start("SegformerB0")


def test_a_network_without_fields_weights_is_told_which_have_them(folder):
    with pytest.raises(ValueError, match="come for SegformerB0, not for PVTv2B0"):
        load_backbone(build_model("PVTv2B0", 3), "fields")


def test_weights_that_do_not_fit_16_bits_are_refused(folder):
    network = folder[1]
    with torch.no_grad():
        network.head.linear_pred.bias[0] = 1e6
    with pytest.raises(ValueError, match="16-bit"):
        shipped.save_shipped(folder[0] / "other.safetensors", network, INFO)
    assert not (folder[0] / "other.safetensors").exists()


def test_convert_writes_a_shipped_file(folder, monkeypatch):
    target = folder[0] / "copy.safetensors"
    source = str(folder[0] / "fields_b0.safetensors")
    monkeypatch.setattr("sys.argv", ["weights.py", "convert", source, str(target)])
    weights_main()
    assert load_checkpoint(target)[1]["classes"] == INFO["classes"]


def test_without_a_file_the_message_says_where_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "ckpt_pretrained")
    with pytest.raises(ValueError, match="no such weights in ckpt_pretrained; its README.md"):
        load_checkpoint("fields")


def test_the_weights_in_the_repository_find_plants_on_drawings_they_have_not_seen():
    network, info = load_checkpoint("fields")
    assert info["classes"] == ["soil", "crop", "weed"]
    preprocessing = Preprocessing.read(info["preprocessing"])
    predict = Predictor(network, preprocessing, WHOLE, torch.device("cpu"))
    both = either = 0
    for index in range(6):
        image, label = Synthetic(split="test", size=(192, 256), variety="mixed", seed=7).draw(index)
        found, plants = predict(image, confidence=False)[0] > 0, label.numpy() > 0
        both, either = both + (found & plants).sum(), either + (found | plants).sum()
    assert both / either > 0.5
