import numpy as np
import pytest
import torch

from losses.logits import ChannelWiseLoss, PixelKLLoss

STUDENT = np.array([[[[1.0, 0.0, 2.0]], [[0.5, -1.0, 0.0]]]])  # one image, two channels, 1 x 3
TEACHER = np.array([[[[0.0, 1.0, 1.0]], [[2.0, 0.0, -2.0]]]])


def loss(**options) -> float:
    maps = [torch.tensor(STUDENT)], [torch.tensor(TEACHER)]
    return ChannelWiseLoss(**options)(*maps).item()


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum()


def test_channel_kl_by_hand():
    tau, expected = 4.0, 0.0
    for channel in range(2):
        p_s = softmax(STUDENT[0, channel].ravel() / tau)
        p_t = softmax(TEACHER[0, channel].ravel() / tau)
        expected += tau**2 / 2 * sum(p_t * np.log(p_t / p_s))
    assert loss(temperature=tau) == pytest.approx(expected, rel=1e-5)


def test_channel_mse_by_hand_knows_no_temperature():
    expected = 0.0
    for channel in range(2):
        difference = softmax(STUDENT[0, channel].ravel()) - softmax(TEACHER[0, channel].ravel())
        expected += sum(difference**2) / 2
    assert loss(divergence="mse", temperature=4.0) == pytest.approx(expected, rel=1e-5)
    assert loss(divergence="mse", temperature=1.0) == pytest.approx(expected, rel=1e-5)


def test_spatial_mse_by_hand():
    expected = 0.0
    for pixel in range(3):
        difference = softmax(STUDENT[0, :, 0, pixel]) - softmax(TEACHER[0, :, 0, pixel])
        expected += sum(difference**2) / 3
    assert loss(norm_type="spatial", divergence="mse") == pytest.approx(expected, rel=1e-5)


def test_spatial_kl_is_the_pixel_kl():
    maps = [torch.tensor(STUDENT)], [torch.tensor(TEACHER)]
    assert loss(norm_type="spatial", temperature=2.0) == pytest.approx(
        PixelKLLoss(temperature=2.0)(*maps).item(), rel=1e-5
    )


def test_channel_mean_by_hand():
    mean_s, mean_t = STUDENT[0].mean(axis=(1, 2)), TEACHER[0].mean(axis=(1, 2))
    assert loss(norm_type="channel_mean", divergence="mse") == pytest.approx(
        ((mean_s - mean_t) ** 2).mean(), rel=1e-5
    )
    p_s, p_t = softmax(mean_s / 2), softmax(mean_t / 2)
    assert loss(norm_type="channel_mean", temperature=2.0) == pytest.approx(
        4 * sum(p_t * np.log(p_t / p_s)), rel=1e-5
    )


@pytest.mark.parametrize("tau", [1, 4])
def test_golden(golden, golden_maps, tau):
    channel_wise = ChannelWiseLoss(temperature=tau)
    pairs = zip(golden_maps("student.feature"), golden_maps("teacher.feature"), strict=True)
    values = [channel_wise([s], [t]).item() for s, t in pairs]
    assert values == pytest.approx(golden("transkd")["losses"][f"cwd_channel_kl_T{tau}"], rel=1e-4)


@pytest.mark.parametrize("options", [{"norm_type": "chanel"}, {"divergence": "l2"}])
def test_an_unknown_variant_names_the_known_ones(options):
    with pytest.raises(ValueError, match="channel_mean|mse"):
        ChannelWiseLoss(**options)
