"""Strong views: other colours, blur and noise, in place."""

import torch

from datasets.strong_views import StrongViews


def draw(count=40):
    """Images (count, 3, 32, 48), whose right half is brighter than their left one."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(60, 90, (count, 3, 32, 48), generator=generator, dtype=torch.uint8)
    images[..., 24:] += 80
    return images


def test_only_the_chosen_images_change():
    torch.manual_seed(0)
    images, chosen = draw(), torch.arange(40) % 2 == 0
    views = StrongViews()(images, chosen)
    assert views.dtype == torch.uint8 and torch.equal(images, draw())
    changed = (views != images).flatten(1).any(1)
    assert not changed[~chosen].any() and changed[chosen].float().mean() > 0.8


def test_nothing_is_moved():
    torch.manual_seed(0)
    views = StrongViews()(draw(), torch.ones(40, dtype=torch.bool)).float().mean((1, 2))
    edges = views.diff(dim=1).argmax(1)
    assert ((edges - 23).abs() <= 2).all()  # the blur moves an edge by noise alone


def test_a_seed_repeats_a_view():
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        views.append(StrongViews()(draw(4), torch.ones(4, dtype=torch.bool)))
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])


def test_some_views_are_grey_and_some_are_noisy():
    torch.manual_seed(0)
    images = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None].expand(200, 3, 32, 32)
    views = StrongViews()(images, torch.ones(200, dtype=torch.bool)).float()
    means, deviations = views.mean((2, 3)), views.std((2, 3)).mean(1)
    grey = ((means.max(1).values - means.min(1).values) < 2).float().mean()
    assert 0.1 < grey < 0.35
    assert 0.3 < (deviations > 1).float().mean() < 0.6
