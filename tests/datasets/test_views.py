"""A view says where in its image it lies: what is cut there is what the view shows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from datasets.transforms import EvalTransform, TrainTransform, collate
from datasets.views import ViewedDataset, cut_view


def slopes(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose first two channels rise from 0 to 255 to the right and down, without void."""
    right = torch.linspace(0, 255, width).expand(height, width)
    down = torch.linspace(0, 255, height)[:, None].expand(height, width)
    image = torch.stack([right, down, torch.zeros(height, width)]).round().to(torch.uint8)
    return image, torch.zeros(height, width, dtype=torch.uint8)


def inner(inside: torch.Tensor, margin: int) -> torch.Tensor:
    """What is so many pixels away from what is outside of the image."""
    outside = F.pad((~inside).float()[None], (margin,) * 4)
    return F.max_pool2d(outside, 2 * margin + 1, 1)[0] == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(100, 200), st.integers(100, 200)),
    image_size=st.one_of(st.none(), st.integers(80, 160), st.just((96, 160))),
    crop=st.sampled_from([64, (48, 112), None]),
    rotate=st.sampled_from([0, 30, 180]),
    shift=st.sampled_from([0, 8]),
)
def test_what_is_cut_out_of_the_image_is_what_the_view_shows(
    seed, size, image_size, crop, rotate, shift
):
    torch.manual_seed(seed)
    transform = TrainTransform(
        image_size, crop, scale_range=(0.7, 1.6), rotate=rotate, photometric=False, shift=shift
    )
    image, label = slopes(*size)
    shown, void, view = transform.with_view(image, label)
    whole = EvalTransform(image_size).resize(image)
    cut = cut_view(whole.float(), view, tuple(void.shape))
    difference = (cut - shown.float()).abs().amax(0)[inner(void != 255, 3)]
    # A pixel of these images is 1.3 to 2.6 of 255; a crop's border is rounded to their pixels, and
    # the fill colour reaches into what was turned where that touches the border.
    assert difference.numel() < 100 or (difference > 4).float().mean() < 0.03


def test_a_map_of_any_resolution_is_cut_alike():
    torch.manual_seed(3)
    image, label = slopes(128, 192)
    transform = TrainTransform(None, 64, scale_range=(1, 1.3), rotate=45, photometric=False)
    shown, void, view = transform.with_view(image, label)
    quarter = F.avg_pool2d(image.float(), 4)
    cut = cut_view(quarter, view, (16, 16))
    inside = inner(void != 255, 8)[::4, ::4]
    difference = (cut - F.avg_pool2d(shown.float(), 4)).abs().amax(0)
    assert inside.any() and difference[inside].max() < 4


def test_outside_of_the_image_is_its_border():
    image, label = slopes(64, 64)
    transform = TrainTransform(None, 128, scale_range=(1, 1), flip=False, photometric=False)
    _, void, view = transform.with_view(image, label)
    cut = cut_view(torch.arange(16.0).expand(1, 16, 16) + 1, view, (128, 128))[0]
    shown = (void != 255).any(0).nonzero()
    left, right = int(shown.min()), int(shown.max())
    assert (cut[:, : left + 2] == 1).all() and (cut[:, right - 1 :] == 16).all()


def test_a_call_and_a_view_draw_the_same():
    image, label = slopes(100, 120)
    transform = TrainTransform(None, 64, rotate=30, shift=4)
    torch.manual_seed(5)
    called = transform(image, label)
    torch.manual_seed(5)
    viewed = transform.with_view(image, label)
    assert all(torch.equal(a, b) for a, b in zip(called, viewed[:2], strict=True))


def test_samples_say_which_image_they_show():
    image, label = slopes(64, 64)
    images = [{"image": image, "label": label, "name": name} for name in "abc"]
    views = ViewedDataset(images, TrainTransform(None, 32).with_view)
    batch = collate([views[2], views[0]])
    assert len(views) == 3
    assert (batch["index"], batch["name"]) == ([2, 0], ["c", "a"])
    assert batch["view"].shape == (2, 2, 3) and batch["image"].shape == (2, 3, 32, 32)


@pytest.mark.parametrize("samples", [[{}], [{"view": torch.zeros(2, 3), "index": 0}, {}]])
def test_a_batch_of_other_samples_has_no_views(samples):
    image, label = slopes(32, 32)
    batch = collate([{"image": image, "label": label, "name": "", **sample} for sample in samples])
    assert not {"index", "view"} & batch.keys()
