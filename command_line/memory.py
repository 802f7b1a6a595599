"""Report running out of memory, on a GPU or CPU, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Advise what needs less memory if the block runs out of it.

    Raises:
        ValueError: the block ran out of memory; the message is the advice.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise ValueError(advice) from error
        raise
