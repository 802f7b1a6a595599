"""Data order and augmentation as a pure function of (seed, epoch, image).

Nothing here depends on the number of workers or processes, or on where a run was interrupted, so
a resumed run sees exactly the samples that the uninterrupted one would have seen.
"""

import random
from collections.abc import Iterator, Sized
from itertools import count, islice
from typing import cast

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

_SEED_RANGE = 2**63
STREAM = 2  # separates the seeds of unlabelled images from those of labelled ones


def derive_seed(*parts: int) -> int:
    """Mix integers such as (seed, epoch, index) into one well-spread 63-bit seed."""
    high, low = np.random.SeedSequence(parts).generate_state(2, np.uint32)
    return (int(high) << 32 | int(low)) % _SEED_RANGE


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffle `length` images anew each epoch, with a separate seed for every sample.

    Yields (index, sample_seed) pairs for `SeededDataset`.

    Attributes:
        epoch: selects the order; Accelerate's loader sets it through `set_epoch`.
        skip: number of samples, over all processes, to skip at the start of the epoch because an
            interrupted run has already used them.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which selects the order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in self._order()[self.skip :]:
            yield index, derive_seed(self.seed, self.epoch, index)

    def _order(self) -> list[int]:
        """The images of the epoch, shuffled."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        return torch.randperm(self.length, generator=generator).tolist()


class MixedSampler(EpochSampler):
    """Add unlabelled images to the labelled ones in every batch.

    Yields batch after batch, labelled images first. An epoch is one pass over the labelled images
    without an incomplete last batch; a pass over the unlabelled ones may span several epochs, so
    that each is seen before any is repeated. Their indices follow those of the labelled ones.

    Args:
        length: number of labelled images.
        seed: as for `EpochSampler`.
        unlabelled: number of unlabelled images.
        batch_size: images per batch.
        unlabelled_per_batch: how many of them are unlabelled.
    """

    def __init__(
        self, length: int, seed: int, unlabelled: int, batch_size: int, unlabelled_per_batch: int
    ) -> None:
        super().__init__(length, seed)
        self.unlabelled = unlabelled
        self.batch_size = batch_size
        self.unlabelled_per_batch = unlabelled_per_batch

    def __len__(self) -> int:
        return self._batches * self.batch_size - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = [(index, derive_seed(self.seed, self.epoch, index)) for index in self._order()]
        assert self.skip % self.batch_size == 0, "an epoch is left between batches"
        labelled = self.batch_size - self.unlabelled_per_batch
        past = self.epoch * self._batches + self._begun
        drawn = self._draw(past * self.unlabelled_per_batch)
        for batch in range(self._begun, self._batches):
            yield from order[batch * labelled : (batch + 1) * labelled]
            yield from islice(drawn, self.unlabelled_per_batch)

    @property
    def _batches(self) -> int:
        return self.length // (self.batch_size - self.unlabelled_per_batch)

    @property
    def _begun(self) -> int:
        return self.skip // self.batch_size

    def _draw(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield unlabelled draws from number `start` on, counted from the start of the run."""
        first, begin = divmod(start, self.unlabelled)
        for number in count(first):
            generator = torch.Generator().manual_seed(derive_seed(self.seed, STREAM, number, 0))
            order = torch.randperm(self.unlabelled, generator=generator).tolist()
            for index in order[begin:]:
                yield self.length + index, derive_seed(self.seed, STREAM, number, index + 1)
            begin = 0


class SeededDataset(Dataset):
    """Reads sample (index, seed) with torch's, NumPy's and Python's global RNG set to `seed`.

    The RNG states are restored afterwards, so reading data in the main process (`--num-workers 0`)
    does not change the random numbers of the training step.
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
