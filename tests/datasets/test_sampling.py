import random

import numpy as np
import torch

from datasets.sampling import EpochSampler, MixedSampler, SeededDataset, derive_seed


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


def mixed(epoch=0, skip=0, seed=0):
    """7 labelled and 5 unlabelled images, in batches of 2 and 2."""
    sampler = MixedSampler(7, seed, unlabelled=5, batch_size=4, unlabelled_per_batch=2)
    sampler.set_epoch(epoch)
    sampler.skip = skip
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return [drawn[start : start + 4] for start in range(0, len(drawn), 4)]


def test_a_batch_has_labelled_images_first_and_unlabelled_ones_after_them():
    batches = mixed()
    assert len(batches) == 3  # the seventh labelled image would make half a batch
    for batch in batches:
        assert [index >= 7 for index, _ in batch] == [False, False, True, True]
    labelled = [index for batch in batches for index, _ in batch[:2]]
    assert len(set(labelled)) == 6


def test_each_unlabelled_image_is_seen_before_any_is_seen_again():
    drawn = [pair for epoch in range(5) for batch in mixed(epoch) for pair in batch[2:]]
    for start in range(0, 30, 5):
        assert sorted(index for index, _ in drawn[start : start + 5]) == [7, 8, 9, 10, 11]
    assert len({seed for _, seed in drawn}) == 30  # and never in the same view


def test_an_epoch_that_was_left_goes_on_with_the_same_unlabelled_images():
    whole = mixed(epoch=3)
    assert mixed(epoch=3, skip=8) == whole[2:]
    assert mixed(epoch=3, seed=1) != whole
