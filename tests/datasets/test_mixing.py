"""CutMix and copy-paste on whole batches."""

import torch

from conventions.labels import UNLABELLED
from datasets.mixing import BatchMixing, rectangle


def draw():
    images = torch.stack([torch.full((3, 20, 30), value, dtype=torch.uint8) for value in (10, 20)])
    labels = torch.zeros(2, 20, 30, dtype=torch.long)
    labels[0, :4], labels[0, 4:6] = 2, 255
    labels[1, -5:] = 1
    return images, labels


def test_copy_paste_takes_plants_and_leaves_ground_and_void():
    images, labels = draw()
    mixed, mixed_labels = BatchMixing(copy_paste=1.0)(images, labels)
    assert (mixed_labels[0, -5:] == 1).all() and (mixed[0, :, -5:] == 20).all()
    assert torch.equal(mixed_labels[0, :-5], labels[0, :-5]) and (mixed[0, :, :-5] == 10).all()
    assert (mixed_labels[1, :4] == 2).all() and (mixed[1, :, :4] == 10).all()
    assert (mixed_labels[1, 4:6] == 0).all() and (mixed[1, :, 4:6] == 20).all()
    assert torch.equal(images, draw()[0]) and torch.equal(labels, draw()[1])


def test_copy_paste_takes_nothing_of_an_unlabelled_image():
    images, labels = draw()
    labels[1] = UNLABELLED
    mixed, mixed_labels = BatchMixing(copy_paste=1.0)(images, labels)
    assert torch.equal(mixed[0], images[0]) and torch.equal(mixed_labels[0], labels[0])
    assert (mixed_labels[1, :4] == 2).all() and (mixed_labels[1, 4:] == UNLABELLED).all()


def test_cutmix_takes_a_rectangle_with_its_labels():
    torch.manual_seed(0)
    images, labels = draw()
    mixed, mixed_labels = BatchMixing(cutmix=1.0)(images, labels)
    for one, other in ((0, 1), (1, 0)):
        taken = (mixed[one, 0] == images[other, 0]).nonzero()
        top, left = taken.min(0).values
        bottom, right = taken.max(0).values + 1
        assert 0 < len(taken) == (bottom - top) * (right - left) < 20 * 30
        inside = (slice(top, bottom), slice(left, right))
        assert torch.equal(mixed_labels[one][inside], labels[other][inside])


def test_rectangles_take_all_shares():
    torch.manual_seed(0)
    shares = torch.stack([rectangle(torch.Size((40, 60))).float().mean() for _ in range(300)])
    assert shares.min() < 0.05 and shares.max() > 0.7
    assert 0.25 < shares.mean() < 0.5  # below a half: they are cut off at the borders


def test_a_probability_is_that_of_an_image():
    torch.manual_seed(0)
    images = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    labels = torch.ones(200, 4, 4, dtype=torch.long)
    mixed, _ = BatchMixing(copy_paste=0.3)(images, labels)
    assert 0.2 < (mixed != images).any(3).any(2).any(1).float().mean() < 0.4
