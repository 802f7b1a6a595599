"""Progress where stderr is no terminal."""

import pytest

from command_line import progress as module
from command_line.progress import Lines, progress


def test_a_line_every_few_seconds(monkeypatch, capsys):
    clock = iter([0.0, 4.0, 12.0, 13.0, 30.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress("evaluate", "image", total=8) as bar:
        for _ in range(4):
            bar.update()
    # 12 seconds for 2 of 8 images leave 36; 30 seconds for 4 leave 30
    assert capsys.readouterr().err.splitlines() == [
        "evaluate: 2 of 8 images, 00:36 left",
        "evaluate: 4 of 8 images, 00:30 left",
    ]


def test_lines_get_rarer_and_say_how_far_a_resumed_run_was(monkeypatch, capsys):
    clock = iter([0.0, 2000.0, 2015.0, 2021.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress("train", "step", total=10, initial=6) as bar:
        for number in range(3):
            bar.set_postfix_str(f"loss {number}")
            bar.update()
    # 2000 seconds for a step leave 6000 for three; a hundredth of 2021 seconds has passed since
    assert capsys.readouterr().err.splitlines() == [
        "train: 7 of 10 steps, 1:40:00 left, loss 0",
        "train: 9 of 10 steps, 11:13 left, loss 2",
    ]


def test_an_unknown_total_has_no_time_left():
    bar = Lines("predict", "image", None)
    bar.done = 3
    assert bar.line(9.0) == "predict: 3 images"


def test_an_estimate_that_was_too_low_grows():
    bar = Lines("predict", "image", 17)
    bar.done = 19
    assert bar.line(9.0) == "predict: 19 of 19 images, 00:00 left"


@pytest.mark.parametrize("hidden", [False, True])
def test_short_or_hidden_work_prints_nothing(hidden, capsys):
    with progress("evaluate", "image", 2, hidden) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""
