"""Signals while a command is still importing, and after it has ended."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line.ending import ENDING

ROOT = Path(__file__).parents[2]
COMMANDS = [
    path
    for path in ROOT.glob("*/*.py")
    if path.parent.name != "tests" and "run by path" in path.read_text("utf-8")
]


def test_every_command_ends_quietly_while_it_imports():
    assert len(COMMANDS) > 20
    for path in COMMANDS:
        before, _, after = path.read_text("utf-8").partition("    end_quietly()\n")
        assert after, path
        assert not any(f"import {heavy}" in before for heavy in ("torch", "numpy", "PIL")), path


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "name", ["datasets/prepare.py", "models/weights.py", "train/train_sekd.py"]
)
@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_during_the_imports(name, signum):
    process = subprocess.Popen([sys.executable, ROOT / name, "--help"], stderr=subprocess.PIPE)
    while "numpy" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.005)
    process.send_signal(signum)
    _, told = process.communicate()
    assert (process.returncode, told) == (130, b"")


LEAVING = """
import atexit, sys, time
from command_line.cli import run
atexit.register(lambda: print("leaving", flush=True) or time.sleep(30))
run(lambda: 1)
"""


@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_after_the_end_leaves_the_status(signum):
    words = [sys.executable, "-c", LEAVING]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, cwd=ROOT, **pipes)
    assert process.stdout.readline() == b"leaving\n"
    process.send_signal(signum)
    _, told = process.communicate()
    assert (process.returncode, told) == (1, b"")


LATE = """
import atexit, signal
atexit.register(lambda: signal.raise_signal(signal.{name}))
from command_line.cli import run
run(lambda: 1)
"""


@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_while_python_clears_away_is_ignored(signum):
    words = [sys.executable, "-c", LATE.format(name=signum.name)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True)
    assert (ended.returncode, ended.stderr) == (1, b"")


UNHEARD = """
from command_line.cli import run
class Cleared:
    def __del__(self):
        raise KeyboardInterrupt
def main():
    Cleared()
    print("went on")
run(main)
"""


def test_ctrl_c_in_a_clean_up_is_heard():
    words = [sys.executable, "-c", UNHEARD]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")
