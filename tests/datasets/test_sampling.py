import random

import numpy as np
import torch

from datasets.sampling import EpochSampler, SeededDataset, derive_seed


class Draws:
    """Three random numbers a sample, one from each library's global state."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, torch.rand(()).item(), np.random.rand(), random.random()


def draw(sampler):
    dataset = SeededDataset(Draws())
    return [dataset[pair] for pair in sampler]


def test_every_image_once_an_epoch_in_a_new_order():
    sampler = EpochSampler(10, seed=0)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        orders.append([index for index, _ in sampler])
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1]


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    first, second = EpochSampler(10, seed=3), EpochSampler(10, seed=3)
    for sampler in (first, second):
        sampler.set_epoch(5)
    expected = draw(first)
    torch.rand(7), np.random.rand(7), random.random()  # whatever was drawn in between
    second.skip = 4
    assert draw(second) == expected[4:]
    assert len(second) == 6
    assert draw(EpochSampler(10, seed=4)) != expected


def test_reading_leaves_the_global_generators_alone():
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = torch.rand(()).item(), np.random.rand(), random.random()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    SeededDataset(Draws())[3, 99]
    assert (torch.rand(()).item(), np.random.rand(), random.random()) == expected


def test_derived_seeds_are_distinct_and_fit_torch():
    seeds = {derive_seed(s, e, i) for s in range(5) for e in range(5) for i in range(20)}
    assert len(seeds) == 500
    for seed in seeds:
        torch.Generator().manual_seed(seed)
