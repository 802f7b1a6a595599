import numpy as np
import torch

from datasets.colours import GREY, ColourTwist, twist

PIXEL = np.array([120.0, 90.0, 40.0])


def apply(*amounts: float, mean: float = 50.0) -> np.ndarray:
    return twist(*amounts, mean=mean) @ np.append(PIXEL, 1)


def test_no_change_is_the_identity():
    assert np.allclose(apply(0, 0, 0, 0), PIXEL, atol=1e-9)


def test_each_change_alone():
    assert np.allclose(apply(0.1, 0, 0, 0), 1.1 * PIXEL)
    assert np.allclose(apply(0, 0.5, 0, 0), 50 + 1.5 * (PIXEL - 50))
    luminance = GREY @ PIXEL
    assert np.allclose(apply(0, 0, -0.4, 0), luminance + 0.6 * (PIXEL - luminance))
    turned = apply(0, 0, 0, 0.05)
    assert np.isclose(GREY @ turned, luminance, atol=0.05)
    assert np.abs(turned - PIXEL).max() > 3
    assert np.allclose(apply(0, 0, 0, 1), PIXEL)  # the full circle


def test_twist_draws_from_torch_and_leaves_its_input_alone():
    image = torch.randint(0, 256, (3, 17, 23), dtype=torch.uint8)
    before, twist_colours, seen = image.clone(), ColourTwist(), []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        seen.append(twist_colours(image))
    assert seen[0].equal(seen[2])
    assert not seen[0].equal(seen[1])
    assert seen[0].shape == image.shape
    assert seen[0].dtype == torch.uint8
    assert image.equal(before)
