"""Losses on labels besides the cross-entropy, against values computed by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from datasets.base import LabelSpace
from train.networks import build_criterion
from train.region_losses import HardPixelLoss, JaccardLoss, LovaszLoss, SummedLoss
from train.segmentation_loss import SegmentationLoss


def logits_of(*probabilities: float) -> torch.Tensor:
    """Two-class logits (1, 2, 1, N) whose second class has these probabilities."""
    second = torch.tensor(probabilities)
    return torch.stack((1 - second, second)).log()[None, :, None]


LABELS = torch.tensor([[[1, 0, 1, 255]]])
LOGITS = logits_of(0.8, 0.3, 0.4, 0.9)


def test_jaccard_by_hand():
    # Class 1: tp = 0.8 + 0.4, union = 1.5 + 2 - 1.2. Class 0: tp = 0.7, union = 1.5 + 1 - 0.7.
    one = 1 - (1.2 + 1) / (2.3 + 1)
    zero = 1 - (0.7 + 1) / (1.8 + 1)
    assert JaccardLoss()(LOGITS, LABELS).item() == pytest.approx((one + zero) / 2, rel=1e-5)


def test_lovasz_by_hand():
    # Errors of class 1, sorted: 0.6 (is), 0.3 (is not), 0.2 (is). Jaccard losses of the first one,
    # two and three pixels wrong: 1 - 1/2, 1 - 1/3, 1 - 0/3.
    one = 0.6 * 1 / 2 + 0.3 * (2 / 3 - 1 / 2) + 0.2 * (1 - 2 / 3)
    # Class 0: 0.6 (is not), 0.3 (is), 0.2 (is not): 1 - 1/2, 1 - 0/2, 1 - 0/3.
    zero = 0.6 * 1 / 2 + 0.3 * 1 / 2
    assert LovaszLoss()(LOGITS, LABELS).item() == pytest.approx((one + zero) / 2, rel=1e-5)


def test_hard_pixels_by_hand():
    # Own classes have 0.8, 0.7 and 0.4: below 0.75 are the last two.
    loss = HardPixelLoss(threshold=0.75)(LOGITS, LABELS).item()
    assert loss == pytest.approx(-(math.log(0.7) + math.log(0.4)) / 2, rel=1e-5)
    weighted = HardPixelLoss(class_weights=[3.0, 1.0], threshold=0.75)(LOGITS, LABELS).item()
    assert weighted == pytest.approx(-(3 * math.log(0.7) + math.log(0.4)) / 4, rel=1e-5)


def test_a_share_of_easy_pixels_counts_as_hard():
    loss = HardPixelLoss(threshold=0.1, least=0.5)(LOGITS, LABELS).item()
    assert loss == pytest.approx(-math.log(0.4), rel=1e-5)  # one of three


def test_hard_pixels_of_weight_zero_give_zero_and_finite_gradients():
    logits = LOGITS.clone().requires_grad_()
    loss = HardPixelLoss(class_weights=[1.0, 0.0])(logits, torch.ones_like(LABELS))
    (2**16 * loss).backward()  # scaled as for fp16
    assert loss == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("kind", [JaccardLoss, LovaszLoss, HardPixelLoss])
def test_void_counts_nowhere_and_all_void_is_zero(kind):
    other = logits_of(0.8, 0.3, 0.4, 0.1)
    assert torch.equal(kind()(LOGITS, LABELS), kind()(other, LABELS))
    void = LOGITS.clone().requires_grad_()
    loss = kind()(void, torch.full_like(LABELS, 255))
    loss.backward()
    assert loss == 0 and not void.grad.any()


@pytest.mark.parametrize("loss", ["ce+jaccard", "ce+lovasz"])
def test_the_void_output_of_the_paper_protocol_is_not_trained(loss):
    options = SimpleNamespace(optimisation=SimpleNamespace(loss=loss, class_weights="none"))
    run = SimpleNamespace(options=options, accelerator=SimpleNamespace(print=print))
    classes = ("soil", "crop", "void")
    data = SimpleNamespace(classes=classes, scored=classes[:2], labels=LabelSpace(3, ignored=2))
    logits = torch.randn(1, 3, 2, 4, requires_grad=True)
    labels = torch.tensor([[[0, 0, 2, 2], [0, 1, 1, 2]]])
    build_criterion(run, data)(logits, labels).backward()
    reached = logits.grad.any(dim=1)
    assert torch.equal(reached, labels != 2)


@pytest.mark.parametrize("kind", [JaccardLoss, LovaszLoss, HardPixelLoss])
def test_training_on_it_finds_the_labels(kind):
    labels = torch.tensor([[[0, 0, 2, 2], [0, 1, 1, 255]]])
    logits = torch.zeros(1, 3, 2, 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        kind()(logits, labels).backward()
        optimizer.step()
    known = labels != 255
    assert torch.equal(logits.argmax(1)[known], labels[known])


def test_a_sum_is_the_sum():
    both = SummedLoss(SegmentationLoss(), JaccardLoss())(LOGITS, LABELS)
    torch.testing.assert_close(
        both, SegmentationLoss()(LOGITS, LABELS) + JaccardLoss()(LOGITS, LABELS)
    )


def test_lovasz_agrees_with_another_implementation():
    library = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 12, 9), torch.randint(0, 4, (2, 12, 9))
    labels[:, :2] = 255
    expected = library.losses.LovaszLoss("multiclass", ignore_index=255)(logits, labels)
    torch.testing.assert_close(LovaszLoss()(logits, labels), expected)
