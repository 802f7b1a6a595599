"""Inference, whole and by windows: exact against the plain way."""

import argparse

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conventions.preprocessing import Preprocessing
from eval.flags.inference import add_inference_flags, choose_inference
from eval.inference import Inference, predict_labels, predict_logits, upsample_argmax

PREPROCESSING = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


class Patches(nn.Module):
    """Judges every 4 x 4 pixels by themselves, and remembers the sizes that it was given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 5, 4, stride=4)
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[-2:]))
        return self.patches(F.pad(images, (0, -images.shape[-1] % 4, 0, -images.shape[-2] % 4)))


def draw(*size, batch=1):
    generator = torch.Generator().manual_seed(sum(size))
    return torch.randint(256, (batch, 3, *size), generator=generator).to(torch.uint8)


def options(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_inference_flags(parser.add_argument_group())
    return choose_inference(parser.parse_args(words))


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
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PREPROCESSING.mean, PREPROCESSING.std))
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


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (97, 40), (40, 200), (30, 150), (129, 5)])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.9])
@torch.inference_mode()
def test_windows_of_a_network_without_context_are_the_whole(size, overlap):
    model, images = Patches(), draw(*size, batch=2)
    whole = predict_logits(model, images, PREPROCESSING)
    model.sizes.clear()
    slide = Inference(window=(64, 48), overlap=overlap)
    torch.testing.assert_close(predict_logits(model, images, PREPROCESSING, inference=slide), whole)
    assert all(height <= 64 and width <= 48 for height, width in model.sizes)


@torch.inference_mode()
def test_neighbouring_windows_overlap_as_asked():
    model = Patches()
    slide = Inference(window=(32, 64), overlap=0.5)
    predict_logits(model, draw(32, 320), PREPROCESSING, inference=slide)
    assert model.sizes == [(32, 64)] * 9


@torch.inference_mode()
def test_an_image_within_the_window_is_seen_whole(tiny_model):
    images = draw(50, 61)
    whole = predict_logits(tiny_model, images, PREPROCESSING)
    slide = predict_logits(tiny_model, images, PREPROCESSING, inference=Inference((64, 64)))
    assert torch.equal(slide, whole)


@torch.inference_mode()
def test_the_middle_of_a_window_counts_most():
    class Ramp(nn.Module):
        """The column within the window."""

        def forward(self, images):
            rows, columns = (-(-side // 4) for side in images.shape[-2:])
            return torch.arange(columns).expand(1, 1, rows, columns)

    slide = Inference(window=(32, 64), overlap=0.5)
    logits = predict_logits(Ramp(), draw(32, 96), PREPROCESSING, inference=slide)[0, 0, 0]
    # Windows of 16 cells at 0 and 8. Cell 10: 10 of weight 5.5 / 8, and 2 of weight 2.5 / 8.
    assert logits[:8].tolist() == list(range(8))
    assert logits[10].item() == pytest.approx((10 * 5.5 + 2 * 2.5) / 8)


@torch.inference_mode()
def test_mirroring_makes_the_result_symmetric(tiny_model):
    images = draw(40, 57)
    flip = Inference(flip=True)
    one, other = (
        predict_logits(tiny_model, view, PREPROCESSING, inference=flip)
        for view in (images, images.flip(-1))
    )
    torch.testing.assert_close(one, other.flip(-1), atol=1e-5, rtol=0)
    plain = predict_logits(tiny_model, images, PREPROCESSING)
    assert not torch.allclose(one, plain, atol=1e-4)


@torch.inference_mode()
def test_scales_are_averaged_on_the_grid_of_the_image():
    model, images = Patches(), draw(48, 62)
    inference = Inference(scales=(0.5, 1.0, 2.0))
    logits = predict_logits(model, images, PREPROCESSING, inference=inference)
    assert model.sizes == [(32, 32), (48, 62), (96, 124)]  # 24 x 31 is filled up to 32 x 32
    expected = predict_logits(model, images, PREPROCESSING)
    normal = (images / 255 - torch.tensor(PREPROCESSING.mean).view(3, 1, 1)) / torch.tensor(
        PREPROCESSING.std
    ).view(3, 1, 1)
    for size in ((24, 31), (96, 124)):
        view = F.interpolate(normal, size=size, mode="bilinear", antialias=size < (48, 62))
        expected = expected + F.interpolate(model(view), size=(12, 16), mode="bilinear")
    # What the half view's last column is filled up with differs between the two.
    torch.testing.assert_close(logits[..., :13], expected[..., :13] / 3, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 5), (33, 2)])
@torch.inference_mode()
def test_images_too_small_for_the_network_have_their_own_size(tiny_model, size):
    images = draw(*size)
    logits = predict_logits(tiny_model, images, PREPROCESSING)
    assert logits.shape[-2:] == tuple(-(-side // 4) for side in size)
    for inference in (Inference(), Inference((32, 32), flip=True, scales=(0.5, 1.0))):
        labels = predict_labels(tiny_model, images, PREPROCESSING, size, inference)
        assert labels.shape == (1, *size)


@torch.inference_mode()
def test_a_plain_image_may_as_well_be_too_small():
    """What is filled up looks like the rest, so that a small plain image gets the same class."""
    model = Patches()
    small, large = (
        torch.full((1, 3, *size), 90, dtype=torch.uint8) for size in ((9, 14), (64, 64))
    )
    expected = predict_labels(model, large, PREPROCESSING, (64, 64)).unique()
    assert torch.equal(predict_labels(model, small, PREPROCESSING, (9, 14)).unique(), expected)


def test_flags():
    assert options() == Inference() and str(options()) == "whole"
    slide = options("--inference", "slide", "--window", "480x640", "--overlap", "0.5", "--tta")
    assert slide == Inference((480, 640), 0.5, (0.75, 1.0, 1.25), flip=True)
    assert str(slide) == "slide 480x640, overlap 0.5, scales 0.75 1 1.25, mirrored"
    assert options("--inference", "slide").window == (512, 512)
    assert options("--tta", "1") == Inference(flip=True)


@pytest.mark.parametrize(
    "words",
    ["--window 64", "--overlap 0.5", "--inference slide --window 30", "--tta 1,1",
     "--inference slide --window 65x64", "--inference slide --window 1x2x3", "--tta 0",
     "--inference slide --overlap 1", "--inference slide --overlap nan", "--inference slid"],
)  # fmt: skip
def test_flags_that_make_no_sense_are_refused(words):
    with pytest.raises((ValueError, argparse.ArgumentError)):
        options(*words.split())
