"""Thread pools with ordered results."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Run jobs in threads and yield their results in order.

    If a job fails or the caller stops early (Ctrl-C), jobs that have not started are cancelled.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(lambda job: job(), jobs)
    finally:
        pool.shutdown(cancel_futures=True)
