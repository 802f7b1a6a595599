"""Contenders take turns, and warm-up is not counted."""

import time

import pytest

from eval.deployment.timing import interleaved_seconds, median_and_spread


def test_contenders_take_turns_and_warm_up_first():
    calls = []
    contenders = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = interleaved_seconds(contenders, rounds=3, warmup=2)
    assert calls == ["a", "b"] * 5
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_a_call_is_timed_whole():
    (seconds,) = interleaved_seconds({"nap": lambda: time.sleep(0.02)}, rounds=1)["nap"]
    assert seconds >= 0.02


def test_median_and_distance_of_quartiles():
    assert median_and_spread([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 2.0)
    assert median_and_spread([7.0]) == (7.0, pytest.approx(0))
