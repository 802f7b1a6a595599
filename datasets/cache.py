"""Decoded images kept in memory: `--cache ram`.

Decoding a large PNG takes longer than all later steps together. Samples are cached as decoded,
before any random transform, so that training sees the same samples as without the cache.
"""

from collections.abc import Sequence
from functools import partial

import psutil
from tqdm import tqdm

from datasets.base import SegmentationDataset
from datasets.pools import in_threads

LARGEST_SHARE = 0.7  # of the free memory; the rest is left to the networks


def keep_in_memory(dataset: SegmentationDataset, indices: Sequence[int]) -> int:
    """Cache samples in memory for all later reads of this data set and its shallow copies.

    Call it before DataLoader workers start: forked workers share the cache.

    Args:
        dataset: any data set.
        indices: of the samples to cache.

    Returns:
        Bytes newly cached.

    Raises:
        ValueError: there is not enough free memory, or a file is damaged.
        FileNotFoundError: a file no longer exists.
    """
    missing = [index for index in indices if index not in dataset.in_memory]
    kept = 0
    free = LARGEST_SHARE * psutil.virtual_memory().available
    # Decoders release the GIL: threads decode in parallel, and their results need no copying.
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
