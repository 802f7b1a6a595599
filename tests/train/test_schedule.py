import pytest
import torch

from train.optimizer import build_scheduler


def rates(total, warmup, power, lr=1.0):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = build_scheduler(optimizer, total, warmup, power)
    seen = []
    for _ in range(total + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_decay_by_hand():
    assert rates(4, 0, 1.0) == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert rates(4, 0, 2.0, lr=2.0) == pytest.approx([2, 2 * 0.75**2, 0.5, 2 * 0.25**2, 0])


def test_warm_up_rises_to_the_peak_and_the_end_is_zero():
    assert rates(6, 2, 1.0) == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25, 0])


def test_default_warm_up_is_a_twentieth():
    assert rates(100, None, 1.0).index(1.0) == 5


def test_a_warm_up_without_end_is_refused():
    with pytest.raises(ValueError, match="--warmup-steps 6"):
        rates(6, 6, 1.0)
