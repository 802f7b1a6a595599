"""Running out of memory, on a GPU or not, reported in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Say what needs less memory where the block needs more than there is.

    Raises:
        ValueError: with the advice.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise ValueError(advice) from error
        raise
