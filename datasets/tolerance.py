"""Training goes on past images that cannot be read, if it was asked to."""

from collections.abc import Sized
from typing import cast

from torch.utils.data import Dataset

from command_line.notes import note
from datasets.base import Sample


def note_left_out(error: Exception) -> None:
    """Say once what could not be read, for training that goes on without it."""
    note(f"left out, --on-bad-sample skip: {error}")


class TolerantDataset(Dataset[Sample]):
    """Reads the next image that can be read in the place of one that cannot.

    What cannot be read is told once; `sample["replaced"]` counts it.

    Args:
        dataset: samples of a training split, or of photographs without labels.
    """

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> Sample:
        """Return the sample of an index, or that of the next ones that can be read.

        Raises:
            ValueError, OSError: of the first one, where none can be read.
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
