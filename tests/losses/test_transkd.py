"""TransKD and review distillation against the published definitions."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

from losses import build_method
from losses.embedding_patch import EmbeddingMSELoss
from losses.transkd import CrossSelectiveFusion, GLMixer, SelectiveMix
from models import build_model
from tests.losses.published_keys import find_published_method, rename_adapters

# golden model, method, its options, and the adapter that yields the embeddings
PUBLISHED = [
    ("transkd_base", "transkd-base", {}, "embed_projections"),
    ("transkd_gl", "transkd-gl", {}, "mixed_projections"),
    ("transkd_gl_noadd", "transkd-gl", {"gl_residual": False}, "mixed_projections"),
    ("transkd_ea", "transkd-ea", {}, "embedding_assistant"),
    ("reviewkd", "reviewkd", {}, None),
]
TEACHER = SimpleNamespace(widths=(64, 128, 320, 512), num_classes=20)


def student_key(published: str) -> str:
    """A published student's key in our state dict."""
    key = published.removeprefix("student.")
    return f"{'head' if key.startswith('linear_') else 'encoder'}.{key}"


@pytest.fixture(scope="module")
def golden_student(golden, golden_tensor, fill_golden):
    """The reference B0 of 20 classes, in eval mode, and what it yields for the golden image."""
    listing = golden("transkd")["models"]["transkd_base"]["state_dict"]
    weights = fill_golden({k: v for k, v in listing.items() if k.startswith("student.")})
    student = build_model("SegformerB0", num_classes=20).eval()
    student.load_state_dict({student_key(key): value for key, value in weights.items()})
    size = golden("transkd")["image_size"]
    with torch.no_grad():
        out = student.forward_intermediates(golden_tensor("image", (2, 3, size, size), 0, 1))
    return student, out


def check(values: torch.Tensor, expected: dict) -> None:
    """Shape, mean, standard deviation and both ends of a map."""
    assert list(values.shape) == expected["shape"]
    flat = values.flatten().double()
    assert flat.mean().item() == pytest.approx(expected["mean"], abs=1e-4)
    assert flat.std().item() == pytest.approx(expected["std"], rel=1e-4)
    assert flat[:4].tolist() == pytest.approx(expected["first"], abs=1e-4)
    assert flat[-4:].tolist() == pytest.approx(expected["last"], abs=1e-4)


@pytest.mark.parametrize(("name", "method", "options", "embeddings"), PUBLISHED)
def test_golden_adapters(golden, fill_golden, golden_student, name, method, options, embeddings):
    reference = golden("transkd")["models"][name]
    student, out = golden_student
    listing = {k: v for k, v in reference["state_dict"].items() if not k.startswith("student.")}
    weights = fill_golden(listing)
    assert find_published_method(weights) == method

    distiller = build_method(method, student, TEACHER, **options).eval()
    distiller.load_state_dict(rename_adapters(weights))
    parameters = sum(p.numel() for p in [*student.parameters(), *distiller.parameters()])
    assert parameters == reference["parameters"]

    fused = "review_fusion" if method == "reviewkd" else "selective_fusion"
    with torch.no_grad():
        features = distiller.adapters[fused](out)
        embedded = distiller.adapters[embeddings](out) if embeddings else []
    for maps, expected in zip(features, reference["features"], strict=True):
        check(maps, expected)
    for maps, expected in zip(embedded, reference["embeddings"], strict=True):
        check(maps.flatten(2).mT, expected)  # published as tokens


def test_golden_embedding_mse(golden, golden_maps):
    value = EmbeddingMSELoss()(golden_maps("student.embedding"), golden_maps("teacher.embedding"))
    expected = golden("transkd")["losses"]["embedding_mse_weighted"]
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_a_foreign_key_is_named():
    state = {"skfs.0.conv1.0.weight": torch.zeros(1), "skfs.9.conv1.0.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match="skfs.9"):
        rename_adapters(state)
    with pytest.raises(ValueError, match="no key"):
        rename_adapters({})


def test_fusion_takes_one_image_in_training_and_maps_of_any_size():
    fusion = CrossSelectiveFusion((4, 6, 8, 10), (5, 7, 9, 11)).train()
    sizes = [(9, 14), (5, 7), (3, 4), (2, 2)]
    features = [torch.randn(1, c, *size) for c, size in zip((4, 6, 8, 10), sizes, strict=True)]
    maps = fusion(SimpleNamespace(features=features))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, *size) for c, size in zip((5, 7, 9, 11), sizes, strict=True)
    ]
    sum(m.square().mean() for m in maps).backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name


def test_in_a_small_batch_the_mix_of_an_image_does_not_depend_on_the_others():
    mix = SelectiveMix(6).train()
    x, y, other = torch.randn(3, 3, 6, 3, 4)
    pairs = [
        deepcopy(mix)(torch.stack([x[0], z[1]]), torch.stack([y[0], z[2]]))[0] for z in (x, other)
    ]
    torch.testing.assert_close(*pairs)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_small_batches_teach_the_mix_the_statistics_of_large_ones(batch):
    torch.manual_seed(0)
    few, many = SelectiveMix(6).train(), SelectiveMix(6).train()
    many.load_state_dict(few.state_dict())
    for norm in (few.norm, many.norm):
        norm.momentum = 0.005
    x, y = torch.randn(2, 3000, 6, 3, 4) * 3 + 2
    with torch.no_grad():
        for some in zip(x.split(batch), y.split(batch), strict=True):
            few(*some)
        for some in zip(x.split(60), y.split(60), strict=True):
            for _ in range(60 // batch):
                many(*some)
    for name in ("running_mean", "running_var"):
        one, other = getattr(few.norm, name), getattr(many.norm, name)
        torch.testing.assert_close(one, other, rtol=0.25, atol=0.1)


def test_selection_is_a_convex_combination():
    mix = SelectiveMix(6).eval()
    x, y = torch.randn(2, 2, 6, 3, 4).unbind(0)
    mixed = mix(x, y)
    low, high = torch.minimum(x, y), torch.maximum(x, y)
    assert ((mixed >= low - 1e-6) & (mixed <= high + 1e-6)).all()
    assert torch.allclose(mix(x, x), x, atol=1e-6)


def test_gl_mixer_starts_with_weights_of_one_and_adds_its_input():
    mixer, bare = GLMixer(16), GLMixer(16, residual=False)
    assert mixer.attention_weight.item() == mixer.conv_weight.item() == 1
    bare.load_state_dict(mixer.state_dict())
    embedding = torch.randn(2, 16, 3, 5)
    assert torch.allclose(mixer(embedding), bare(embedding) + embedding, atol=1e-6)


def test_the_assistant_starts_with_rising_weights(build_tiny):
    distiller = build_method("transkd-ea", build_tiny(), build_tiny())
    weights = distiller.adapters["embedding_assistant"].weights
    values = [weights[str(k)].item() for k in range(8)]
    assert values == pytest.approx([0.1 * (k + 1) for k in range(8)])


@pytest.mark.parametrize("method", ["transkd-base", "transkd-gl", "transkd-ea"])
def test_embed_chooses_the_stages(build_tiny, method):
    student, teacher = build_tiny(), build_tiny(seed=1, embed_dims=(16, 24, 32, 40))
    images = torch.rand(2, 3, 64, 64)
    for embed in range(6):
        outs = student.forward_intermediates(images), teacher.forward_intermediates(images)
        distiller = build_method(method, student, teacher, embed=embed)
        terms = distiller(*outs)
        assert len(terms) == (1 if embed == 0 else 2)
        sum(terms.values()).backward()
        for name, parameter in distiller.named_parameters():
            assert parameter.requires_grad == (parameter.grad is not None), (embed, name)


def test_a_stage_on_its_own_has_weight_one(build_tiny):
    student, teacher = build_tiny(), build_tiny(seed=1)
    images = torch.rand(2, 3, 64, 64)
    student_out = student.forward_intermediates(images)
    teacher_out = teacher.forward_intermediates(images)
    distiller = build_method("transkd-base", student, teacher, embed=2)
    (adapted,) = distiller.adapters["embed_projections"](student_out)
    expected = torch.nn.functional.mse_loss(adapted, teacher_out.embeddings[1])
    assert torch.allclose(distiller(student_out, teacher_out)["embedding"], expected)


@pytest.mark.parametrize(("method", "term"), [("transkd-base", "hcl"), ("reviewkd", "review")])
def test_review_weight_scales_hcl(build_tiny, method, term):
    distiller = build_method(method, build_tiny(), build_tiny(), hcl_weight=3.0, weight=0.5)
    assert distiller.weights[term] == 1.5
