"""Comparative timing: contenders take turns, so that other load on the machine affects all."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def interleaved_seconds(
    contenders: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Time functions that do the same work in different ways, calling each once per round.

    Work that a function queues on an accelerator is included in its time.

    Args:
        contenders: functions by name.
        rounds: number of timed calls of each.
        warmup: number of untimed calls of each before that.

    Returns:
        Seconds per call, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warmup, rounds):
        for name, contender in contenders.items():
            _wait_for_device()
            started = time.perf_counter()
            contender()
            _wait_for_device()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def median_and_spread(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the interquartile range (0 for a single call)."""
    if len(seconds) == 1:
        return seconds[0], 0.0
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return median, high - low


def _wait_for_device() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
