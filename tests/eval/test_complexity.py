"""Costs against hand counts, the package thop, and the adapters as they are built."""

import pytest
import torch
from torch import nn

from eval.complexity import (
    count_parameters,
    multiply_adds,
    plain_layers,
    thop_rule,
    training_cost,
)
from eval.published.adapters import ADAPTERS
from losses import build_method
from models import Intermediates, build_model


class OneConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward_intermediates(self, images):
        return Intermediates(images, self.conv(images))


def test_multiply_adds_by_hand():
    model = OneConvolution()
    assert multiply_adds(model, 32, 48) == 16 * 24 * 8 * 3 * 9


def test_attention_and_interpolation_are_counted():
    class Attention(nn.Module):
        def forward_intermediates(self, images):
            tokens = images.flatten(2).transpose(1, 2)[:, None]
            mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
            up = nn.functional.interpolate(images, scale_factor=2, mode="bilinear")
            return Intermediates(images, mixed, [up])

    pixels = 32 * 32
    assert multiply_adds(Attention(), 32, 32) == 2 * pixels * pixels * 3 + 3 * 3 * 4 * pixels


def test_a_network_is_left_as_it_was(build_tiny):
    model = build_tiny().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    multiply_adds(model, 64, 64)
    plain_layers(model, 64, 64)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_head_that_runs_is_cheaper_than_the_published_one(tiny_model):
    assert multiply_adds(tiny_model, 64, 64) < multiply_adds(tiny_model, 64, 64, plain=True)


@pytest.mark.filterwarnings("ignore")
def test_thop_rule_equals_thop(build_tiny):
    thop = pytest.importorskip("thop")
    model = build_tiny().eval()
    expected = sum(map(thop_rule, plain_layers(model, 64, 96)))
    model.head.fuse = model.head.fuse_plain
    flops, params = thop.profile(model, (torch.zeros(1, 3, 64, 96),), verbose=False)
    assert (int(flops), int(params)) == (expected, count_parameters(model))


@pytest.fixture(scope="module")
def pair():
    with torch.device("meta"):
        return build_model("SegformerB0", 20), build_model("SegformerB2", 20)


@pytest.mark.parametrize(
    ("declared", "method"),
    [
        ("sekd", "sekd-ct"),
        ("transkd-base", "transkd-base"),
        ("transkd-gl", "transkd-gl"),
        ("transkd-ea", "transkd-ea"),
    ],
)
def test_declared_adapters_are_those_of_the_methods(pair, declared, method):
    student, teacher = pair
    with torch.device("meta"):
        distiller = build_method(method, student=student, teacher=teacher)
    cost = ADAPTERS[declared](student.widths, teacher.widths, 64, 64)
    assert cost.parameters == count_parameters(distiller)


def test_training_cost_adds_the_adapters(build_tiny):
    student, teacher = build_tiny(), build_tiny(embed_dims=(16, 32, 48, 64))
    distiller = build_method("sekd-ct", student=student, teacher=teacher)
    cost = training_cost(student, distiller.adapters.values(), 64, 96)
    assert cost["params"] == count_parameters(student) + count_parameters(distiller)
    assert cost["flops"] > multiply_adds(student, 64, 96)
    assert (cost["height"], cost["width"]) == (64, 96)
