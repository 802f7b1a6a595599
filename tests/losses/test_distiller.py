"""From declarations to a module: merging, dropping, weighing, resizing."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from losses import METHODS, build_method
from losses.declaration import Adapter, Method, MethodOptions, Term, flag_of, merge
from losses.distiller import Distiller

WIDTHS = (4, 6, 8, 10)
NETWORK = SimpleNamespace(widths=WIDTHS, fused_width=6, num_classes=2)


class Mean(nn.Module):
    """Mean difference over all given maps, by the number of maps."""

    def forward(self, student_maps, teacher_maps):
        pairs = zip(student_maps, teacher_maps, strict=True)
        return sum((t - s).mean() for s, t in pairs)


class FirstStage(nn.Module):
    """MSE of the first stage's maps."""

    def forward(self, student_maps, teacher_maps):
        return F.mse_loss(student_maps[0], teacher_maps[0])


class Count(nn.Module):
    """Passes one kind of intermediates on, and counts how often."""

    def __init__(self, source, stages):
        super().__init__()
        self.source, self.stages, self.calls = source, stages, 0
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, out):
        self.calls += 1
        return [self.scale * getattr(out, self.source)[stage] for stage in self.stages]


def build_count(student, teacher, options):
    return Count("features", options.stages("features"))


def build_last(student, teacher, options):
    return Count("features", (3,))


def build_embeddings(student, teacher, options):
    return Count("embeddings", options.stages("embeddings"))


def mean(*_):
    return Mean()


def outputs(value: float, side: int = 8) -> SimpleNamespace:
    """Constant intermediates; stage i of the features has value + i."""
    return SimpleNamespace(
        logits=torch.full((1, 2, side, side), float(value)),
        features=[torch.full((1, c, side, side), float(value + i)) for i, c in enumerate(WIDTHS)],
        embeddings=[torch.full((1, c, side, side), value + 10.0 * i) for i, c in enumerate(WIDTHS)],
    )


def distil(method: Method, student_out, teacher_out, **options):
    distiller = Distiller(method, NETWORK, NETWORK, MethodOptions(**options))
    return distiller, {k: v.item() for k, v in distiller(student_out, teacher_out).items()}


def test_weights():
    method = Method(
        (
            Term("fixed", mean, 0.5, reads="logits"),
            Term("set", mean, lambda options: options.hcl_weight, reads="features"),
        )
    )
    _, terms = distil(method, outputs(0), outputs(1), weight=0.5, hcl_weight=3)
    assert terms == {"fixed": 0.5 * 0.5, "set": 0.5 * 3 * 4}


def test_an_adapter_runs_once_however_many_terms_read_it():
    method = Method(
        (Term("a", mean, 1.0, reads="bridge"), Term("b", mean, 2.0, reads="bridge")),
        {"bridge": Adapter(build_count, target="features")},
    )
    distiller, terms = distil(method, outputs(0), outputs(1))
    assert terms == {"a": 4, "b": 8}
    assert distiller.adapters["bridge"].calls == 1
    assert [name for name, _ in distiller.named_parameters()] == ["adapters.bridge.scale"]


def test_an_adapter_of_one_stage_meets_that_stage():
    method = Method(
        (Term("a", mean, 1.0, reads="last"),),
        {"last": Adapter(build_last, target="features", stages=(3,))},
    )
    assert distil(method, outputs(0), outputs(5))[1] == {"a": 5}


@pytest.mark.parametrize(("embed", "expected"), [(1, 1), (3, 1), (4, 1), (5, 4)])
@pytest.mark.parametrize("reads", ["embeddings", "bridge"])
def test_embed_picks_the_stages(embed, expected, reads):
    adapters = {"bridge": Adapter(build_embeddings, target="embeddings")}
    method = Method((Term("a", mean, 1.0, reads=reads),), adapters)
    assert distil(method, outputs(0), outputs(1), embed=embed)[1] == {"a": expected}


def test_embed_0_drops_terms_and_their_adapters():
    method = Method(
        (Term("a", mean, 1.0, reads="bridge"), Term("b", mean, 1.0, reads="features")),
        {"bridge": Adapter(build_embeddings, target="embeddings")},
    )
    distiller, terms = distil(method, outputs(0), outputs(1), embed=0)
    assert terms == {"b": 4}
    assert distiller.reads == {"features"}
    assert not list(distiller.parameters())


def test_maps_are_resized_to_the_teachers():
    method = Method((Term("a", lambda *_: FirstStage(), 1.0, reads="features"),))
    student, teacher = outputs(0, side=6), outputs(0, side=12)
    student.features[0] = torch.randn(1, 4, 6, 5)
    teacher.features[0] = F.interpolate(student.features[0], (12, 10), mode="bilinear")
    assert distil(method, student, teacher)[1] == {"a": 0}


def test_the_teacher_gets_no_gradient():
    student, teacher = outputs(0), outputs(1)
    teacher.features = [x.requires_grad_() for x in teacher.features]
    student.features = [x.requires_grad_() for x in student.features]
    method = Method((Term("a", mean, 1.0, reads="features"),))
    Distiller(method, NETWORK, NETWORK, MethodOptions())(student, teacher)["a"].backward()
    assert all(x.grad is None for x in teacher.features)
    assert all(x.grad is not None for x in student.features)


def test_merging_keeps_what_is_shared_once():
    merged = merge([METHODS["sekd-ct"], METHODS["sekd-fa"]])
    assert [term.name for term in merged.terms] == ["texture", "relation", "alignment"]
    assert set(merged.adapters) == {"fef", "embed_projections"}


def test_names_that_clash_are_a_mistake_in_the_declarations():
    one = Method((Term("a", mean, 1.0, reads="logits"),))
    other = Method((Term("a", mean, 2.0, reads="logits"),))
    with pytest.raises(AssertionError, match="two terms named a"):
        merge([one, other])
    with pytest.raises(AssertionError, match="a: nothing"):
        Method((Term("a", mean, 1.0, reads="nothing"),))
    with pytest.raises(AssertionError, match="hides"):
        Method((), {"features": Adapter(build_count, target="features")})


@pytest.mark.parametrize("name", ["SEKD-CT", " sekd-ct + kd"])
def test_names_in_any_case(name):
    assert "relation" in build_method(name, NETWORK, NETWORK).losses


@pytest.mark.parametrize("name", ["sekd-xy", "", "kd+", "none"])
def test_an_unknown_method_lists_the_known(name):
    with pytest.raises(ValueError, match="sekd-ct, sekd-su"):
        build_method(name, NETWORK, NETWORK)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"embed": 7}, "--embed 7"),
        ({"embed": -1}, "--embed -1"),
        ({"weight": -0.5}, "--kd-weight"),
        ({"temperature": 0}, "--temperature"),
        ({"embed_weights": (1.0, 2.0)}, "--embed-weights: give four"),
        ({"embed_weights": (1.0, 1.0, 1.0, -1.0)}, "--embed-weights -1"),
        ({"review_width": 0}, "--review-width 0"),
        ({"norm_type": "group"}, "--norm-type group.*channel, spatial"),
        ({"divergence": "js"}, "--divergence js.*kl, mse"),
    ],
)
def test_a_bad_option_names_its_flag(options, flag):
    with pytest.raises(ValueError, match=flag) as error:
        build_method("sekd", NETWORK, NETWORK, **options)
    assert "\n" not in str(error.value)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="tau"):
        build_method("sekd", NETWORK, NETWORK, tau=1.0)


def test_a_method_without_terms_is_refused():
    with pytest.raises(ValueError, match="--embed 0"):
        build_method("sekd", NETWORK, NETWORK, embed=0)


GIVEN = {
    "weight": 0.5,
    "temperature": 2.0,
    "norm_type": "spatial",
    "divergence": "mse",
    "hcl_weight": 2.0,
    "lambda_cwd": 1.0,
    "lambda_cwd_features": 1.0,
    "review_width": 32,
    "embed_weights": (1.0, 1.0, 1.0, 1.0),
    "standardize_logits": True,
    "embed": 3,
    "gl_residual": False,
}


@pytest.mark.parametrize(
    "method, read",
    [
        ("sekd-ct", {"--embed"}),
        ("transkd-gl", {"--embed", "--review-kd-loss-weight"}),
        ("cwd", {"--norm-type", "--divergence", "--lambda-cwd", "--standardize-logits"}),
        ("cwd-features", {"--norm-type", "--divergence", "--lambda-cwd-features"}),
        ("transkd-base", {"--embed", "--review-kd-loss-weight"}),
        ("reviewkd", {"--review-kd-loss-weight", "--review-width"}),
        ("at", set()),
        ("at+kd", {"--temperature", "--standardize-logits"}),
    ],
)
def test_flags_that_a_method_does_not_read_are_known(method, read):
    unread = {flag_of(name) for name in GIVEN} - {"--kd-weight"} - read
    assert set(build_method(method, NETWORK, NETWORK, **GIVEN).ignored) == unread
    assert build_method(method, NETWORK, NETWORK).ignored == []


@pytest.mark.parametrize("method", ["cwd", "cwd-features", "transkd-cwd"])
def test_the_kl_divergence_of_cwd_reads_the_temperature_and_its_mse_does_not(method):
    for divergence, ignored in (("kl", []), ("mse", ["--temperature"])):
        options = {"temperature": 2.0, "divergence": divergence}
        assert build_method(method, NETWORK, NETWORK, **options).ignored == ignored


def test_the_residual_is_read_by_the_stage_that_has_a_mixer():
    assert build_method("transkd-gl", NETWORK, NETWORK, gl_residual=False).ignored == []
