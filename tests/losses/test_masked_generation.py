import numpy as np
import pytest
import torch

from losses.masked_generation import GenerationLoss, MaskedGenerator


def identity_generator(width: int) -> MaskedGenerator:
    """Gives back what it gets wherever that is not negative."""
    module = MaskedGenerator(width, width)
    for conv in (module.align, module.generate[0], module.generate[2]):
        torch.nn.init.dirac_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    return module


def test_sum_of_squares_per_image_by_hand():
    student = np.arange(8.0).reshape(2, 1, 2, 2)
    teacher = np.ones((2, 1, 2, 2))
    expected = ((student - teacher) ** 2).sum() / 2
    value = GenerationLoss()([torch.tensor(student)], [torch.tensor(teacher)])
    assert value.item() == pytest.approx(expected)


def test_a_perfect_generator_reaches_zero():
    features = torch.rand(2, 3, 4, 5)
    generated = identity_generator(3).eval()(features)
    assert GenerationLoss()([generated], [features]).item() == 0


def test_training_hides_whole_pixels_at_the_mask_ratio():
    torch.manual_seed(0)
    generated = identity_generator(2).train()(torch.ones(2, 2, 40, 50))
    hidden = generated == 0
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert hidden.float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_masked_pixels_are_generated_from_their_neighbours():
    torch.manual_seed(0)
    module = MaskedGenerator(2, 3).train()
    features = torch.ones(1, 2, 8, 8, requires_grad=True)
    module(features).square().sum().backward()
    seen = features.grad.abs().sum(dim=1)
    assert 0 < (seen > 0).float().mean() < 0.6  # only what the mask left reaches the student


def test_with_a_reference_the_sum_is_that_of_a_map_of_its_size():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    plain = GenerationLoss()([student], [teacher])
    torch.testing.assert_close(GenerationLoss(reference_side=8)([student], [teacher]), 4 * plain)
