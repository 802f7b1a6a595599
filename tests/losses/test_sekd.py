"""The SEKD methods as wholes, against the published student with its adapters."""

from types import SimpleNamespace

import pytest
import torch

from losses import build_method
from models import build_model
from tests.losses.published_keys import rename_adapters

B0 = SimpleNamespace(widths=(32, 64, 160, 256), num_classes=3)
B3 = SimpleNamespace(widths=(64, 128, 320, 512), num_classes=3)
TERMS = {
    "sekd": {"texture": 1.0},
    "sekd-ct": {"texture": 1.0, "relation": 0.5},
    "sekd-su": {"texture": 1.0, "reconstruction": 0.5},
    "sekd-fa": {"texture": 1.0, "alignment": 0.2},
}


@pytest.fixture(scope="module")
def published(golden):
    return golden("sekd")["models"]["sekd_b0_to_b3_3cls"]


@pytest.fixture(scope="module")
def student(published, fill_golden):
    """A B0 with the reference weights, found under `student.` in the published file."""
    model = build_model("SegformerB0", num_classes=3).eval()

    def published_name(key: str) -> str:
        return "student." + key.removeprefix("encoder.").removeprefix("head.")

    model.load_state_dict(fill_golden(model.state_dict(), name=published_name))
    return model


@pytest.fixture(scope="module")
def distiller(published, fill_golden):
    listing = {k: v for k, v in published["state_dict"].items() if not k.startswith("student.")}
    distiller = build_method("sekd-ct", B0, B3).eval()
    distiller.load_state_dict(rename_adapters(fill_golden(listing)))
    return distiller


@pytest.fixture(scope="module")
def student_out(golden_tensor, student):
    with torch.no_grad():
        return student.forward_intermediates(golden_tensor("image", (2, 3, 128, 128), 0, 1))


def check(values: torch.Tensor, expected: dict) -> None:
    assert list(values.shape) == expected["shape"]
    assert values.mean().item() == pytest.approx(expected["mean"], rel=1e-4, abs=1e-5)
    assert values.std().item() == pytest.approx(expected["std"], rel=1e-4)
    flat = values.flatten()
    assert flat[:4].tolist() == pytest.approx(expected["first"], rel=1e-4, abs=1e-5)
    assert flat[-4:].tolist() == pytest.approx(expected["last"], rel=1e-4, abs=1e-5)


def test_adapted_features(distiller, student_out, published):
    with torch.no_grad():
        maps = distiller.adapters["fef"](student_out)
    for values, expected in zip(maps, published["features"], strict=True):
        check(values.contiguous(), expected)


def test_projected_embeddings(distiller, student_out, published):
    with torch.no_grad():
        maps = distiller.adapters["embed_projections"](student_out)
    for values, expected in zip(maps, published["embeddings"], strict=True):
        check(values.flatten(2).mT.contiguous(), expected)


def test_parameters_with_adapters(student, distiller, published):
    count = sum(p.numel() for p in [*student.parameters(), *distiller.parameters()])
    assert count == published["parameters"] == 4584563


@pytest.mark.parametrize("method", TERMS)
def test_terms_and_weights(method):
    distiller = build_method(method, B0, B3)
    assert distiller.weights == TERMS[method]
    assert all(name in ("fef", "embed_projections") for name in distiller.adapters)
    halved = build_method(method, B0, B3, weight=0.5)
    assert halved.weights == {name: weight / 2 for name, weight in TERMS[method].items()}


def test_plain_sekd_reads_embeddings_only():
    distiller = build_method("sekd", B0, B3)
    assert distiller.reads == {"embeddings"}
    assert build_method("sekd-ct", B0, B3).reads == {"embeddings", "features"}


def test_embed_keeps_the_published_stage_numbers():
    distiller = build_method("sekd-ct", B0, B3, embed=3)
    keys = [key for key in distiller.state_dict() if "embed_projections" in key]
    assert keys == [f"adapters.embed_projections.2.{name}" for name in ("weight", "bias")]


@pytest.mark.parametrize("method", TERMS)
@pytest.mark.parametrize("size", [(32, 96), (75, 50)])
def test_a_step_at_any_size(build_tiny, method, size):
    student, teacher = build_tiny(), build_tiny(seed=1, embed_dims=(16, 24, 32, 40)).eval()
    distiller = build_method(method, student, teacher)
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        teacher_out = teacher.forward_intermediates(images)
    sum(distiller(student.forward_intermediates(images), teacher_out).values()).backward()
    for name, parameter in distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
