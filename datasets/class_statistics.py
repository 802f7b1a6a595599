"""How often each class occurs, and the loss weights that follow from it."""

import torch
from torch import Tensor
from torch.utils.data import Subset
from tqdm import tqdm

from datasets.base import SegmentationDataset
from datasets.tolerance import note_left_out

# ENet's constant: with it the rarest class weighs about 1 / ln(1.02) = 50 times, the commonest
# about 1 / ln(2.02) = 1.4 times, so that rare classes count without drowning the others.
LOG_OFFSET = 1.02


def count_pixels(label: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of each class in a uint8 label (H, W): int64 (K,), void left out."""
    return torch.bincount(label.flatten(), minlength=256)[:num_classes]


def class_frequencies(
    dataset: SegmentationDataset | Subset, progress: bool = False, skip_bad: bool = False
) -> Tensor:
    """Share of each class in the labelled pixels of a data set or a part of one, float64 (K,).

    Reads every label once, before any transform; void pixels are left out, and with `skip_bad`
    labels that cannot be read, which are noted.

    Raises:
        ValueError: a label is damaged or outside the class list, or there is no labelled pixel.
        OSError: a label is not there.
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

    The rule of ENet (Paszke et al. 2016, section 5.2), which ERFNet and TransKD use too, over the
    share of a class in all labelled pixels. The weights are scaled so that those of the classes
    that occur average 1, which keeps the loss on the scale of the unweighted one. A class that
    never occurs gets 1: the rule's 50 would rest on no observation.

    Raises:
        ValueError: the frequencies are negative, not finite or all zero.
    """
    if not torch.isfinite(frequencies).all() or (frequencies < 0).any() or not frequencies.any():
        raise ValueError(f"class frequencies must be shares of 1, not {frequencies.tolist()}")
    occurs = frequencies > 0
    weights = 1 / torch.log(LOG_OFFSET + frequencies.double())
    weights = weights / weights[occurs].mean()
    return torch.where(occurs, weights, 1.0).float()
