"""What every method must do, whatever its losses are."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from losses import METHODS, build_method
from losses.declaration import INTERMEDIATES
from losses.methods import find_method
from models import build_model

# Methods whose terms compare raw intermediates: an identical teacher leaves nothing to learn.
WITHOUT_ADAPTERS = ("kd", "at", "cwd", "dist", "bpkd")
ALL = [*METHODS, "sekd-ct+kd", "transkd-base+cwd"]
# Adapters that pool over the whole map, void included.
POOLING = {"fef", "selective_fusion"}


def network(seed: int, widths: tuple[int, ...], batch: int, size: tuple[int, int], stride: int = 4):
    """A stand-in of a network, and intermediates with gradients as it would yield them."""
    torch.manual_seed(seed)

    def maps(channels: int, stage_stride: int) -> torch.Tensor:
        shape = [-(-side // stage_stride) for side in size]
        return torch.randn(batch, channels, *shape, requires_grad=True)

    out = SimpleNamespace(
        images=torch.rand(batch, 3, *size),
        logits=maps(3, stride),
        fused=maps(2 * widths[0], stride),
        features=[maps(width, stride << i) for i, width in enumerate(widths)],
        embeddings=[maps(width, stride << i) for i, width in enumerate(widths)],
        before_norm=[maps(width, stride << i) for i, width in enumerate(widths)],
    )
    return SimpleNamespace(widths=widths, fused_width=2 * widths[0], num_classes=3), out


def leaves(out: SimpleNamespace) -> list[torch.Tensor]:
    return [out.logits, out.fused, *out.features, *out.embeddings, *out.before_norm]


# What docs/methods.md tells, and whose it is; the parts of SEKD are the paper's.
WEIGHTS = {
    "sekd": {"texture": 1},
    "sekd-ct": {"texture": 1, "relation": 0.5},
    "sekd-su": {"texture": 1, "reconstruction": 0.5},
    "sekd-fa": {"texture": 1, "alignment": 0.2},
    "transkd-base": {"hcl": 1, "embedding": 1},
    "transkd-gl": {"hcl": 1, "embedding_gl": 1},
    "transkd-ea": {"hcl": 1, "embedding_ea": 1},
    "transkd-cwd": {"fused_cwd": 1, "embedding": 1},
    "kd": {"kd": 1},
    "feature": {"feature_last": 1, "feature_fused": 1},
    "at": {"at": 1000},
    "cwd": {"cwd": 0.3},
    "cwd-features": {"cwd_features": 5},
    "reviewkd": {"review": 1},
    "mgd": {"mgd": 2e-5},
    "dist": {"dist": 1},
    "cirkd": {"kd": 1, "cross_image": 1, "pixel_memory": 0.1, "region_memory": 0.1},
    "jml": {"jml": 3},
    "bpkd": {"bpkd": 0.25},
    "af-dcd": {"generation": 2e-6, "dense_contrast": 5e-3},
}


@pytest.mark.parametrize("method", WEIGHTS)
def test_terms_have_the_weights_of_the_docs(method):
    student, _ = network(0, (8, 16, 24, 32), 1, (32, 32))
    assert build_method(method, student, student).weights == WEIGHTS[method]


def test_settings_of_the_docs():
    student, _ = network(0, (8, 16, 24, 32), 1, (32, 32))
    memories = build_method("cirkd", student, student).losses
    pixels, regions = memories["pixel_memory"], memories["region_memory"]
    assert (pixels.regions, regions.regions) == (False, True)
    assert (pixels.memory.shape, regions.memory.shape) == ((3, 2048, 16), (3, 512, 16))
    assert (pixels.drawn, regions.drawn) == (4096, 1024)
    temperatures = {
        name: build_method(name, student, student).losses[term].temperature
        for name, term in (("kd", "kd"), ("cwd", "cwd"), ("cwd-features", "cwd_features"))
    }
    assert temperatures == {"kd": 1, "cwd": 4, "cwd-features": 1}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_finite_at_other_width_and_stride(method, bf16, batch):
    student, student_out = network(0, (8, 16, 24, 32), batch, (64, 96))
    teacher, teacher_out = network(1, (12, 24, 40, 64), batch, (64, 96), stride=2)
    distiller = build_method(method, student, teacher).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        terms = distiller(student_out, teacher_out)
    assert all(term.shape == () and term.isfinite() and term >= 0 for term in terms.values())
    sum(terms.values()).backward()

    reached = [x.grad for x in leaves(student_out) if x.grad is not None]
    assert reached
    assert all(grad.isfinite().all() for grad in reached)
    assert any(grad.abs().max() > 0 for grad in reached)
    assert all(x.grad is None for x in leaves(teacher_out))
    for name, parameter in distiller.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def draw_labels(batch: int, size: tuple[int, int], void: slice) -> torch.Tensor:
    """Class ids in blocks of 16 px, with columns of void."""
    blocks = torch.randint(0, 3, (batch, size[0] // 16, size[1] // 16))
    labels = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2).to(torch.uint8)
    labels[..., void] = 255
    return labels


@pytest.mark.parametrize("method", METHODS)
def test_void_carries_no_knowledge(method):
    """What student and teacher make of void changes neither values nor gradients elsewhere."""
    # Adapters with kernels look over the border: half of the crop is far enough from it.
    size, void = (128, 256), slice(64, None)
    labels = draw_labels(2, size, void)
    student, student_out = network(0, (8, 16, 24, 32), 2, size)
    _, teacher_out = network(1, (8, 16, 24, 32), 2, size)

    def gradients(change: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        distiller = build_method(method, student, student).eval()
        distiller.losses.train()
        outs = []
        for out, sign in ((student_out, 1), (teacher_out, -1)):
            changed = copy.deepcopy(out)
            for leaf in leaves(changed):
                leaf.data[..., leaf.shape[-1] // 2 :] += sign * change
            outs.append(changed)
        torch.manual_seed(1)
        sum(distiller(*outs, labels).values()).backward()
        reached = [leaf.grad for leaf in leaves(outs[0]) if leaf.grad is not None]
        return [grad[..., : grad.shape[-1] // 8] for grad in reached]

    for plain, changed in zip(gradients(0.0), gradients(3.0), strict=True):
        assert plain.abs().max() > 0 or plain.shape[-1] < 2
        if POOLING & set(find_method(method).adapters):  # what they see of void steers them
            continue
        torch.testing.assert_close(changed, plain, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_crop_of_void_teaches_nothing(method):
    student, student_out = network(0, (8, 16, 24, 32), 2, (64, 96))
    teacher, teacher_out = network(1, (12, 24, 40, 64), 2, (64, 96))
    labels = torch.full((2, 64, 96), 255, dtype=torch.uint8)
    terms = build_method(method, student, teacher)(student_out, teacher_out, labels)
    sum(terms.values()).backward()
    assert all(abs(term.item()) < 1e-6 for term in terms.values()), terms
    for leaf in leaves(student_out):
        assert leaf.grad is None or leaf.grad.abs().max() < 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [96, 128, 256])
def test_bf16_trains_like_float32(build_tiny, method, side):
    """Networks compute in bf16, losses in float32: their gradients differ by a third at most."""
    # torch 2.15 computes strided convolutions of fewer than 32 channels wrongly in bf16 on
    # processors with AMX; no network of the project has so few (pytorch/pytorch#169688 is alike).
    student = build_tiny(embed_dims=(32, 32, 24, 32), head_width=32)
    teacher = build_tiny(seed=1, embed_dims=(32, 64, 32, 64), head_width=32).eval()
    student.eval()
    for weights in (*student.parameters(), *teacher.parameters()):
        weights.data *= 1 + 2 * (weights.ndim > 1)  # pixels differ, as in a trained network
    torch.manual_seed(2)
    colours = F.interpolate(torch.rand(4, 3, 8, 8), (side, side), mode="bicubic")
    images = (colours + torch.rand(4, 3, side, side)) / 2
    distiller = build_method(method, student, teacher)
    labels = draw_labels(4, (side, side), slice(side * 3 // 4, None))

    def gradient(bf16: bool) -> torch.Tensor:
        fresh = copy.deepcopy(distiller)
        student.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                teacher_out = teacher.forward_intermediates(images)
            torch.manual_seed(3)
            terms = fresh(student.forward_intermediates(images), teacher_out, labels)
        sum(terms.values()).backward()
        return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])

    exact, rounded = gradient(False), gradient(True)
    assert (rounded - exact).norm() < exact.norm() / 3


@pytest.mark.parametrize("method", WITHOUT_ADAPTERS)
def test_an_identical_teacher_is_the_minimum(method):
    student, out = network(0, (8, 16, 24, 32), 2, (64, 96))
    distiller = build_method(method, student, student)
    total = sum(distiller(out, copy.deepcopy(out)).values())
    total.backward()
    assert total.item() == pytest.approx(0, abs=1e-5)
    for leaf in leaves(out):
        assert leaf.grad is None or leaf.grad.abs().max() < 1e-5
    _, other = network(1, (8, 16, 24, 32), 2, (64, 96))
    assert sum(distiller(out, other).values()) > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_adapters_learn(method):
    student, student_out = network(0, (8, 16, 24, 32), 2, (64, 64))
    teacher, teacher_out = network(1, (12, 24, 40, 64), 2, (64, 64))
    distiller = build_method(method, student, teacher)
    trainable = [p for p in distiller.parameters() if p.requires_grad]
    if not trainable:
        assert not any(True for _ in distiller.parameters())
        return
    optimizer = torch.optim.Adam(trainable, lr=1e-2)
    values = []
    for step in range(12):
        torch.manual_seed(step % 2)  # random masks recur, so that values compare
        loss = sum(distiller(student_out, teacher_out).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert sum(values[-2:]) < sum(values[:2])


@pytest.mark.parametrize("method", METHODS)
def test_a_pvt_teacher_fits_a_segformer_student(build_tiny, method):
    torch.manual_seed(1)
    teacher = build_model("PVTv2B0", num_classes=3).eval()
    student = build_tiny()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        teacher_out = teacher.forward_intermediates(images)
    distiller = build_method(method, student, teacher)
    terms = distiller(student.forward_intermediates(images), teacher_out)
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_student_step_in_bf16(build_tiny, method):
    student, teacher = build_tiny().train(), build_tiny(seed=1, embed_dims=(16, 24, 32, 40)).eval()
    images = torch.rand(2, 3, 64, 96)
    distiller = build_method(method, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            teacher_out = teacher.forward_intermediates(images)
        terms = distiller(student.forward_intermediates(images), teacher_out)
        sum(terms.values()).backward()
    grads = [p.grad for p in student.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_reads_is_all_that_the_teacher_needs_to_yield(method):
    student, out = network(0, (8, 16, 24, 32), 2, (64, 64))
    distiller = build_method(method, student, student)
    assert distiller.reads <= set(INTERMEDIATES)
    needed = SimpleNamespace(**{name: getattr(out, name) for name in distiller.reads})
    assert distiller(out, needed)


def test_joined_methods_give_the_terms_of_both():
    student, student_out = network(0, (8, 16, 24, 32), 2, (64, 64))
    teacher, teacher_out = network(1, (12, 24, 40, 64), 2, (64, 64))
    joined = build_method("sekd-ct+kd", student, teacher)
    assert set(joined(student_out, teacher_out)) == {"texture", "relation", "kd"}
    assert set(joined.adapters) == {"fef", "embed_projections"}
    assert joined.reads == {"features", "embeddings", "logits"}
    kd = build_method("kd", student, teacher)(student_out, teacher_out)["kd"]
    assert torch.equal(joined(student_out, teacher_out)["kd"], kd)


def test_all_methods_join_to_the_terms_of_each():
    joined = find_method("+".join(METHODS))
    of_each = {term.name: term for name in METHODS for term in find_method(name).terms}
    assert {term.name: term for term in joined.terms} == of_each
    assert len(joined.terms) == len(of_each)


def test_cirkd_and_kd_count_the_pixel_term_once():
    names = ["kd", "cross_image", "pixel_memory", "region_memory"]
    assert [term.name for term in find_method("cirkd+kd").terms] == names


@pytest.mark.parametrize(
    ("method", "options", "term", "expected"),
    [
        ("cwd", {}, "cwd", 0.3),
        ("cwd", {"lambda_cwd": 2.0, "weight": 0.5}, "cwd", 1.0),
        ("kd", {"weight": 0.5}, "kd", 0.5),
        ("mgd", {}, "mgd", 2e-5),
        ("af-dcd", {}, "generation", 2e-6),
        ("af-dcd", {}, "dense_contrast", 5e-3),
    ],
)
def test_weights(method, options, term, expected):
    student, _ = network(0, (8, 16, 24, 32), 1, (32, 32))
    assert build_method(method, student, student, **options).weights[term] == expected


@pytest.mark.parametrize(("method", "default"), [("kd", 1.0), ("cwd", 4.0), ("dist", 1.0)])
def test_temperature_is_the_methods_own_unless_set(method, default):
    student, _ = network(0, (8, 16, 24, 32), 1, (32, 32))
    assert build_method(method, student, student).losses[method].temperature == default
    softer = build_method(method, student, student, temperature=2.5)
    assert softer.losses[method].temperature == 2.5


def test_cwd_variants_reach_the_loss():
    student, _ = network(0, (8, 16, 24, 32), 1, (32, 32))
    options = {"norm_type": "spatial", "divergence": "mse"}
    loss = build_method("cwd", student, student, **options).losses["cwd"]
    assert (loss.norm_type, loss.divergence) == ("spatial", "mse")


@pytest.mark.parametrize("method", ["kd", "cwd", "dist", "cirkd", "jml", "bpkd"])
def test_a_teacher_of_another_class_count_is_refused(method):
    student, _ = network(0, (8, 16, 24, 32), 1, (32, 32))
    teacher = SimpleNamespace(widths=student.widths, fused_width=16, num_classes=4)
    with pytest.raises(ValueError, match="4 classes"):
        build_method(method, student, teacher)
    build_method("at+mgd+reviewkd+transkd-base", student, teacher)


@pytest.mark.parametrize("padding", [0.0, 0.44, 0.75])
def test_the_texture_term_in_bf16_on_padded_crops(padding):
    """Where no label masks flat padding, what rounding makes of it must not blow up."""
    torch.manual_seed(0)
    student, teacher = (build_model(f"SegformerB{i}", num_classes=3).eval() for i in (0, 1))
    for weights in (*student.parameters(), *teacher.parameters()):
        if weights.ndim == 1:  # as after training: padding is a flat colour, not zero
            weights.data += 0.2 * torch.randn_like(weights)
    distiller = build_method("sekd", student, teacher)
    images = torch.randn(1, 3, 256, 256)
    images[..., round(256 * (1 - padding)) :] = 0

    def gradient(bf16: bool) -> torch.Tensor:
        student.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                teacher_out = teacher.forward_intermediates(images)
            terms = distiller(student.forward_intermediates(images), teacher_out)
        sum(terms.values()).backward()
        return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])

    exact, rounded = gradient(False), gradient(True)
    assert (rounded - exact).norm() < exact.norm() / 3
