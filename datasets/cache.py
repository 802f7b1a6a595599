"""Decoded images kept in memory: `--cache ram`.

Decoding a large PNG takes longer than all that follows it. What is kept is what the file holds,
before any random transform, so that training sees the same samples as without.
"""

from collections.abc import Sequence
from functools import partial

import psutil
from tqdm import tqdm

from datasets.base import SegmentationDataset
from datasets.pools import in_threads

LARGEST_SHARE = 0.7  # of the free memory; networks need some as well


def keep_in_memory(dataset: SegmentationDataset, indices: Sequence[int]) -> int:
    """Read samples once, for all later reads of this data set and of its shallow copies.

    Call it before loader workers are made: where processes are forked, they share what is kept.

    Args:
        dataset: of any kind.
        indices: of the samples to keep.

    Returns:
        Bytes that are kept.

    Raises:
        ValueError: there is not enough free memory, or a file is damaged.
        FileNotFoundError: a file has vanished.
    """
    missing = [index for index in indices if index not in dataset.in_memory]
    kept = 0
    free = LARGEST_SHARE * psutil.virtual_memory().available
    # Decoders release Python's lock: threads decode in parallel without copying what they read.
    samples = in_threads([partial(dataset.read, index) for index in missing])
    progress = tqdm(samples, "reading into memory", len(missing), unit="image", disable=None)
    for index, (image, label) in zip(missing, progress, strict=True):
        kept += image.nbytes + label.nbytes
        if kept > free:
            raise ValueError(
                f"--cache ram: {len(missing)} images of '{dataset.split}' need more than "
                f"{LARGEST_SHARE:.0%} of the free memory, {free / 1e9:.1f} GB: leave it out"
            )
        dataset.in_memory[index] = image, label
    return kept
