"""Data order and augmentation as a pure function of (seed, epoch, image).

Nothing here depends on how many workers or processes read the data, or on where a run was
interrupted, so a resumed run sees exactly the samples the uninterrupted one would have seen.
"""

import random
from collections.abc import Iterator, Sized
from typing import cast

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

_SEED_RANGE = 2**63


def derive_seed(*parts: int) -> int:
    """Mix integers such as (seed, epoch, index) into one well-spread 63-bit seed."""
    high, low = np.random.SeedSequence(parts).generate_state(2, np.uint32)
    return (int(high) << 32 | int(low)) % _SEED_RANGE


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffle `length` images anew each epoch, giving every draw a seed of its own.

    Yields (index, sample_seed) pairs for `SeededDataset`.

    Attributes:
        epoch: which order to draw; Accelerate's loader sets it through `set_epoch`.
        skip: how many of the epoch's first samples, all processes together, to leave out because
            an interrupted run has already used them.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Select the epoch to draw."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        order = torch.randperm(self.length, generator=generator).tolist()
        for index in order[self.skip :]:
            yield index, derive_seed(self.seed, self.epoch, index)


class SeededDataset(Dataset):
    """Reads sample (index, seed) with torch's, NumPy's and Python's global RNG set to `seed`.

    The RNGs are put back afterwards, so reading data in the main process (`--num-workers 0`)
    does not change what the training step draws.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, draw: tuple[int, int]) -> dict:
        index, seed = draw
        python_state, numpy_state = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            try:
                return self.dataset[index]
            finally:
                random.setstate(python_state)
                np.random.set_state(numpy_state)
