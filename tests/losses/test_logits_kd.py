import numpy as np
import pytest
import torch

from losses.logits import PixelKLLoss, Standardized, standardize


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum()


def test_value_by_hand():
    student = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]])  # two pixels, three classes
    teacher = np.array([[0.0, 1.0, 1.0], [2.0, 0.0, -2.0]])
    tau = 2.0
    expected = 0.0
    for z_s, z_t in zip(student, teacher, strict=True):
        p_s, p_t = softmax(z_s / tau), softmax(z_t / tau)
        expected += tau**2 * sum(p_t * np.log(p_t / p_s)) / 2
    as_map = [torch.tensor(z.T).reshape(1, 3, 1, 2) for z in (student, teacher)]
    value = PixelKLLoss(temperature=tau)([as_map[0]], [as_map[1]])
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_does_not_depend_on_a_constant_added_to_the_logits():
    a, b = torch.randn(2, 1, 2, 4, 5, 3).unbind(0)
    loss = PixelKLLoss()
    assert torch.allclose(loss([a], [b]), loss([a + 3], [b - 7]), rtol=1e-4)


def test_stays_finite_where_a_softmax_would_underflow():
    student = torch.tensor([200.0, -200.0]).reshape(1, 2, 1, 1).requires_grad_()
    value = PixelKLLoss()([student], [-student.detach()])
    value.backward()
    assert value.item() == pytest.approx(400)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("tau", [1, 4])
def test_golden(golden, golden_maps, tau):
    loss = PixelKLLoss(temperature=tau)
    pairs = zip(golden_maps("student.feature"), golden_maps("teacher.feature"), strict=True)
    values = [loss([s], [t]).item() for s, t in pairs]
    assert values == pytest.approx(golden("transkd")["losses"][f"pixel_kl_T{tau}"], rel=1e-4)


def test_standardised_logits_know_no_scale():
    """z-scores by hand for one pixel; a teacher of twice the scale says the same."""
    z = np.array([1.0, 2.0, 6.0])
    scores = (z - z.mean()) / z.std()
    maps = torch.tensor(z).reshape(1, 3, 1, 1)
    assert standardize(maps).flatten().tolist() == pytest.approx(scores.tolist(), rel=1e-5)
    loss = Standardized(PixelKLLoss(2.0))
    assert loss([maps], [2 * maps + 5]).item() == pytest.approx(0, abs=1e-6)
    assert loss([maps], [-maps]).item() > 0.1
