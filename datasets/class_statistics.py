"""Class frequencies, and the loss weights derived from them."""

import torch
from torch import Tensor
from torch.utils.data import Subset
from tqdm import tqdm

from datasets.base import SegmentationDataset
from datasets.tolerance import note_left_out

# ENet's constant: it bounds the weights by 1 / ln(1.02) = 50 for the rarest class and by
# 1 / ln(2.02) = 1.4 for the most frequent, so that rare classes count but do not dominate.
LOG_OFFSET = 1.02


def count_pixels(label: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of each class in a uint8 label (H, W): int64 (K,), without void."""
    return torch.bincount(label.flatten(), minlength=256)[:num_classes]


def class_frequencies(
    dataset: SegmentationDataset | Subset, progress: bool = False, skip_bad: bool = False
) -> Tensor:
    """Share of each class in the labelled pixels of a data set or subset, float64 (K,).

    Reads every label once, without the transform. Void pixels are not counted; with `skip_bad`,
    labels that cannot be read are skipped with a note.

    Raises:
        ValueError: a label is damaged or outside the class list, or there is no labelled pixel.
        OSError: a label file cannot be opened.
    """
    part = dataset if isinstance(dataset, Subset) else Subset(dataset, range(len(dataset)))
    whole = part.dataset
    assert isinstance(whole, SegmentationDataset)
    counts = torch.zeros(whole.num_classes, dtype=torch.int64)
    labels = [whole.pairs[index][1] for index in part.indices]
    for path in tqdm(labels, "class frequencies", unit="label", disable=not progress, leave=False):
        try:
            counts += count_pixels(whole.read_label(path), whole.num_classes)
        except (ValueError, OSError) as error:
            if not skip_bad:
                raise
            note_left_out(error)
    if not counts.any():
        raise ValueError(f"{whole.root}: split {whole.split!r} has no labelled pixel")
    return counts.double() / counts.sum()


def class_weights(frequencies: Tensor) -> Tensor:
    """Weights for the cross-entropy, float32 (K,): w = 1 / ln(1.02 + p), p the class's share.

    The rule of ENet (Paszke et al. 2016, section 5.2), also used by ERFNet and TransKD, applied to
    the share of a class in all labelled pixels. The weights are scaled to a mean of 1 over the
    classes that occur, which keeps the loss on the scale of the unweighted one. A class that
    never occurs gets 1: the rule's 50 would have no data behind it.

    Raises:
        ValueError: the frequencies are negative, not finite or all zero.
    """
    if not torch.isfinite(frequencies).all() or (frequencies < 0).any() or not frequencies.any():
        raise ValueError(f"class frequencies must be shares of 1, not {frequencies.tolist()}")
    occurs = frequencies > 0
    weights = 1 / torch.log(LOG_OFFSET + frequencies.double())
    weights = weights / weights[occurs].mean()
    return torch.where(occurs, weights, 1.0).float()
