"""Skipping unreadable images in training: `--on-bad-sample skip`."""

from collections.abc import Sized
from typing import cast

from torch.utils.data import Dataset

from command_line.notes import note
from datasets.base import Sample


def note_left_out(error: Exception) -> None:
    """Print, once, what could not be read and is skipped."""
    note(f"left out, --on-bad-sample skip: {error}")


class TolerantDataset(Dataset[Sample]):
    """Replaces each unreadable sample by the next readable one.

    Each error is printed once; `sample["replaced"]` is 1 for a replacement.

    Args:
        dataset: a training split, or unlabelled images.
    """

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at an index, or else the next readable one.

        Raises:
            ValueError, OSError: none can be read; the error is that of the first one.
        """
        first = None
        for further in range(len(self)):
            try:
                sample = self.dataset[(index + further) % len(self)]
            except (ValueError, OSError) as error:
                note_left_out(error)
                first = first or error
            else:
                return {**sample, "replaced": int(further > 0)}
        assert first is not None, "an empty data set"
        raise first
