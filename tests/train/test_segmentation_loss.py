"""The loss against torch's cross-entropy of upsampled logits: values, gradients, memory."""

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from train import segmentation_loss
from train.segmentation_loss import SegmentationLoss

WEIGHTS = [None, [1.0, 3.0, 0.5]]


def draw(batch: int = 3, size: tuple[int, int] = (40, 64), dtype: torch.dtype = torch.float32):
    """Logits at a quarter of the size of the labels, some of which are void."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (batch, *size), generator=generator)
    labels[:, :5] = 255
    quarter = [side // 4 for side in size]
    return torch.randn(batch, 3, *quarter, generator=generator).to(dtype), labels


def plain(logits, labels, weights=None):
    large = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(large, labels, weights and torch.tensor(weights), ignore_index=255)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("at_a_time", [1, 2, 3])
def test_value_and_gradient_are_those_of_torch(weights, at_a_time, monkeypatch):
    monkeypatch.setattr(segmentation_loss, "MAX_VALUES", at_a_time * 3 * 40 * 64)
    logits, labels = draw()
    expected = plain(leaf := logits.clone().requires_grad_(), labels, weights)
    found = SegmentationLoss(weights)(logits.requires_grad_(), labels)
    torch.testing.assert_close(found, expected)
    expected.mul(3).backward()
    found.mul(3).backward()
    torch.testing.assert_close(logits.grad, leaf.grad)


def test_logits_of_the_labels_size_are_taken_as_they_are():
    logits, labels = draw()
    large = F.interpolate(logits, (40, 64), mode="bilinear")
    torch.testing.assert_close(
        SegmentationLoss()(logits, labels), SegmentationLoss()(large, labels)
    )


def test_half_precision_is_computed_in_single():
    logits, labels = draw(dtype=torch.bfloat16)
    expected = plain(leaf := logits.float().requires_grad_(), labels)
    found = SegmentationLoss()(logits.requires_grad_(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    expected.backward()
    found.backward()
    torch.testing.assert_close(logits.grad, leaf.grad.bfloat16())


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("scale", [1, 2**16], ids=["as it is", "scaled for fp16"])
def test_a_batch_of_void_gives_zero_and_finite_gradients(weights, scale):
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    loss = SegmentationLoss(weights)(logits, torch.full((1, 32, 32), 255))
    (scale * loss).backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_without_gradients_none_is_computed():
    logits, labels = draw()
    with torch.no_grad():
        assert not SegmentationLoss()(logits.requires_grad_(), labels).requires_grad
    assert not SegmentationLoss()(logits.detach(), labels).requires_grad


def test_a_large_batch_needs_no_more_memory_than_some_images(monkeypatch):
    monkeypatch.setattr(segmentation_loss, "MAX_VALUES", 3 * 128 * 128)
    logits, labels = draw(batch=8, size=(128, 128))

    def peak(loss) -> int:
        leaf = logits.clone().requires_grad_()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            loss(leaf, labels).backward()
        held = most = 0
        for event in recorded.profiler.kineto_results.events():
            held += event.nbytes() if event.name() == "[memory]" else 0
            most = max(most, held)
        return most

    assert peak(SegmentationLoss()) < 0.4 * peak(plain)
