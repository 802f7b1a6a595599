"""Processes of a study: stopped together, and waited for where they are others'."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from train.study import job_queue
from train.study.job_queue import Queue
from train.study.jobs import SCORES
from train.study.recipe import read_study

TRAINING = """
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    pathlib.Path("saved").write_text(str(os.getpgrp()))
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
pathlib.Path("ready").touch()
time.sleep(60)
"""


LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "training.py"]))
"""


@pytest.fixture
def heard():
    """Signals as in a terminal, also where the tests run under nohup or in the background."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("number", "program"),
    [
        (signal.SIGINT, "training.py"),
        (signal.SIGHUP, "training.py"),
        (signal.SIGINT, "launcher.py"),  # which hands no signal on
    ],
)
def test_who_stops_a_study_stops_its_runs_and_they_save(
    recipe, tmp_path, monkeypatch, number, program
):
    monkeypatch.chdir(tmp_path)
    Path("training.py").write_text(TRAINING)
    Path("launcher.py").write_text(LAUNCHER)
    study = read_study(recipe({"none": {"stage": "student"}, "more": {"stage": "student"}}))
    told: list[str] = []
    queue = Queue(study, study.jobs, 1, f"{sys.executable} {program}", told.append)

    def stop():
        while not Path("ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop).start()
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert told == ["started: none, seed 0"]
    # Of a group of its own: the Ctrl-C of a terminal goes to a whole group, and would end it twice.
    assert int(Path("saved").read_text()) != os.getpgrp()
    assert signal.getsignal(signal.SIGHUP) is before


HOLDER = """
import pathlib, sys
from train.folder_lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("held", ["seed0.study", "seed0"])  # by a study; by a training of its own
def test_what_another_process_trains_is_waited_for(recipe, tmp_path, monkeypatch, held, ended):
    monkeypatch.setattr(job_queue, "WATCH", 0.1)
    (tmp_path / "fails.py").write_text("raise SystemExit(3)")
    study = read_study(recipe({"one": {"stage": "student"}, "two": {"stage": "student"}}))
    one = study.jobs[0]
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(one.folder.with_name(held))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(job_queue.SCRIPTS.parent)},
    )  # fmt: skip
    assert other.stdout.readline() == "held\n"
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line.split(" (")[0].replace(str(other.pid), "PID"))
        if line.startswith("failed") and other.poll() is None:
            if ended:
                one.folder.mkdir(parents=True)
                (one.folder / SCORES).touch()
                (one.folder / "results.json").touch()
            other.communicate()

    queue = Queue(study, study.jobs, 1, f"{sys.executable} {tmp_path / 'fails.py'}", tell)
    queue.run()
    in_use = f"in use elsewhere: one, seed 0: process PID on {socket.gethostname()}"
    assert told[:2] == [in_use, "started: two, seed 0"]
    assert told[2].startswith("failed with status 3: two, seed 0")
    if ended:
        assert told[3:] == ["ended: one, seed 0"]
    else:
        assert told[3] == "started: one, seed 0"
        assert told[4].startswith("failed with status 3: one, seed 0")
    assert [job.run for job in queue.failed] == (["two"] if ended else ["two", "one"])
