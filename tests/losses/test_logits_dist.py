import numpy as np
import pytest
import torch

from losses.logits import RelationMatchingLoss


def test_value_by_hand():
    random = np.random.RandomState(0)
    z_s, z_t = random.randn(2, 2, 3, 2, 2)  # two images, three classes, 2 x 2 pixels
    tau = 2.0

    def probabilities(z):  # (K, B * h * w)
        e = np.exp(z / tau)
        return (e / e.sum(axis=1, keepdims=True)).swapaxes(0, 1).reshape(3, -1)

    p_s, p_t = probabilities(z_s), probabilities(z_t)
    inter = np.mean([1 - np.corrcoef(p_s[:, i], p_t[:, i])[0, 1] for i in range(8)])
    intra = np.mean([1 - np.corrcoef(p_s[k], p_t[k])[0, 1] for k in range(3)])
    value = RelationMatchingLoss(tau, inter_weight=2.0, intra_weight=0.5)(
        [torch.tensor(z_s)], [torch.tensor(z_t)]
    )
    assert value.item() == pytest.approx(tau**2 * (2 * inter + 0.5 * intra), rel=1e-4)


def test_constant_probabilities_give_finite_gradients():
    student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    value = RelationMatchingLoss()([student], [torch.randn(1, 3, 2, 2)])
    value.backward()
    assert value.item() == pytest.approx(2)
    assert student.grad.isfinite().all()
