"""Whole-image inference: exact against the plain way."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eval.inference import predict_labels, predict_logits, upsample_argmax

PREPROCESSING = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(64, 96), (61, 90), (16, 24), (37, 11), None])
@pytest.mark.parametrize("classes", [1, 2, 19])
def test_argmax_class_by_class_equals_the_plain_way(size, classes, memory_format):
    logits = torch.randn(2, classes, 16, 24, generator=torch.Generator().manual_seed(classes))
    logits = logits.contiguous(memory_format=memory_format)
    plain = logits
    if size is not None:
        plain = F.interpolate(logits.contiguous(), size=size, mode="bilinear", align_corners=False)
    result = upsample_argmax(logits, size)
    assert result.dtype == torch.uint8
    assert torch.equal(result.long(), plain.argmax(1))


def test_a_tie_goes_to_the_first_class():
    logits = torch.tensor([1.0, 3.0, 3.0, 2.0]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert upsample_argmax(logits, (5, 5)).unique().tolist() == [1]


def test_images_are_normalized_as_the_checkpoint_says():
    images = torch.randint(256, (2, 3, 8, 12), dtype=torch.uint8)
    logits = predict_logits(nn.Identity(), images, PREPROCESSING)
    mean, std = (torch.tensor(PREPROCESSING[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(logits, (images / 255 - mean) / std)


def test_labels_are_those_of_the_upsampled_logits(tiny_model):
    images = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    with torch.inference_mode():
        logits = predict_logits(tiny_model, images, PREPROCESSING, size=(43, 50))
        labels = predict_labels(tiny_model, images, PREPROCESSING, size=(43, 50))
    assert logits.shape == (2, 3, 43, 50)
    assert torch.equal(labels.long(), logits.argmax(1))


def test_logits_are_float32_under_autocast(tiny_model):
    images = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert predict_logits(tiny_model, images, PREPROCESSING).dtype == torch.float32
