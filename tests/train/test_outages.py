"""What is left of a run, and what is said, when the machine fails it."""

import csv
import errno
import os
import shutil
import signal

import pytest
import torch
from torch.utils.data import DataLoader

from command_line import cli
from command_line.cli import run
from command_line.outages import OutageError, find_outage
from train.checkpoint import Keeper
from train.folder_lock import locked

NAME = "student-SegformerB0-VOC"
PACE = ("images_per_second", "data_waiting")


def log_of(folder):
    rows = csv.DictReader((folder / "log.csv").read_text().splitlines())
    return [{name: cell for name, cell in row.items() if name not in PACE} for row in rows]


@pytest.mark.parametrize("step", [3, 4, 5])
def test_the_log_of_a_resumed_run_is_that_of_an_undisturbed_one(
    step, run_stage, runs, interrupt_after
):
    assert run_stage("student", "--run-name", "whole") == 0
    interrupt_after(step)
    assert run_stage("student", "--run-name", "parts") == 130
    assert run_stage("student", "--run-name", "parts", "--resume") == 0
    assert log_of(runs / "parts") == log_of(runs / "whole")


def test_a_run_killed_after_its_log_and_before_its_checkpoint(run_stage, runs, monkeypatch):
    assert run_stage("student", "--run-name", "whole") == 0
    save = Keeper.save_last

    def killed(keeper):
        if keeper.state.progress.step == 6:
            raise KeyboardInterrupt
        save(keeper)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save_last", killed)
        assert run_stage("student", "--run-name", "parts") == 130
    assert run_stage("student", "--run-name", "parts", "--resume") == 0
    assert log_of(runs / "parts") == log_of(runs / "whole")


def test_leftovers_of_a_killed_run_go_at_the_next_start(run_stage, runs):
    assert run_stage("student", "--num-epochs", "1") == 0
    left = [runs / NAME / f".{name}.123.tmp" for name in ("last.pth", "epoch-0001.pth", "log.csv")]
    others = runs / NAME / ".scores.json.123.tmp"  # eval.py may be at it
    for path in (*left, others, runs / f".{NAME}.lock"):
        path.touch()
    assert run_stage("student", "--resume") == 0
    assert not any(path.exists() for path in left)
    assert others.exists()
    assert [path.name for path in runs.iterdir()] == [NAME]


@pytest.mark.parametrize("saved", [False, True])
def test_a_run_that_was_set_aside_is_put_back(saved, run_stage, runs, load, capsys):
    """The process that had overwritten it was killed, before or after its first checkpoint."""
    assert run_stage("student", "--num-epochs", "1", "--seed", "1") == 0
    assert run_stage("student", "--num-epochs", "1", "--run-name", "new") == 0
    (runs / NAME).rename(runs / f".{NAME}.overwritten")
    (runs / "new").rename(runs / NAME)
    if not saved:
        for path in (runs / NAME).glob("*.pth"):
            path.unlink()
    assert run_stage("student", "--num-epochs", "1") == 2
    told = capsys.readouterr().err
    assert "already holds a run" in told
    assert ("put back the run" in told) == (not saved)
    assert load(runs / NAME / "last.pth")["seed"] == (0 if saved else 1)
    assert [path.name for path in runs.iterdir()] == [NAME]


def test_a_run_set_aside_is_found_by_resume(run_stage, runs):
    assert run_stage("student", "--num-epochs", "1") == 0
    (runs / NAME).rename(runs / f".{NAME}.overwritten")
    assert run_stage("student", "--num-epochs", "2", "--resume") == 0
    assert [row["epoch"] for row in log_of(runs / NAME)] == ["1", "2"]


@pytest.fixture
def other_process():
    """`other_process(folder)`: fork a process that holds the lock of a run folder until the end."""
    begun, children = os.pipe(), []

    def start(folder):
        child = os.fork()
        if not child:
            with locked(folder):
                os.write(begun[1], b".")
                signal.pause()
        children.append(child)
        os.read(begun[0], 1)
        return child

    yield start
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_two_processes_do_not_train_in_one_folder(run_stage, runs, capsys, other_process):
    assert run_stage("student", "--num-epochs", "1") == 0
    other = other_process(runs / NAME)
    before = (runs / NAME / "last.pth").read_bytes()
    assert run_stage("student", "--num-epochs", "2", "--resume") == 2
    assert f"{NAME}: process {other} on" in capsys.readouterr().err
    assert run_stage("student", "--num-epochs", "1", "--overwrite") == 2
    assert (runs / NAME / "last.pth").read_bytes() == before
    os.kill(other, signal.SIGKILL)
    while f"{other}" in os.popen(f"ps -o pid=,stat= -p {other} | grep -v Z").read():
        pass
    assert run_stage("student", "--num-epochs", "2", "--resume") == 0


def test_a_full_disk_is_one_line_that_says_what_is_kept(run_stage, runs, monkeypatch, capsys, load):
    save = torch.save

    def full(content, file):
        if content["metrics"].get("step") == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file)

    monkeypatch.setattr(torch, "save", full)
    assert run_stage("student") == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"no space is left on the disk; {runs / NAME / 'last.pth'} of step 3 is kept" in told
    assert load(runs / NAME / "last.pth")["training"]["progress"]["step"] == 3
    assert not list((runs / NAME).glob(".*.tmp"))
    monkeypatch.setattr(torch, "save", save)
    assert run_stage("student", "--resume") == 0


def test_a_full_disk_is_known_behind_the_error_of_torch():
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:783] unexpected pos 64 vs 0")
    except RuntimeError as error:
        assert find_outage(error) == "no space is left on the disk"


def test_a_run_folder_that_vanishes_stops_the_run(run_stage, runs, after_update, capsys):
    after_update(4, lambda _: shutil.rmtree(runs / NAME))
    assert run_stage("student") == 2
    *progress, told = capsys.readouterr().err.splitlines()  # a slow run shows its progress
    assert f"{runs / NAME}: args.yaml has gone" in told and "Traceback" not in str(progress)
    assert not (runs / NAME).exists()


def test_a_data_set_that_vanishes_stops_the_run(run_stage, voc, tmp_path, after_update, capsys):
    data = shutil.copytree(voc, tmp_path / "data")
    after_update(4, lambda _: shutil.rmtree(data))
    assert run_stage("student", "--num-workers", "1", data=data) == 2
    *progress, told = capsys.readouterr().err.strip().splitlines()
    assert f"{data}" in told and "no such file" in told and "Traceback" not in str(progress)


class Dying(torch.utils.data.Dataset):
    """Kills the process that reads its second half."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index >= 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.mark.parametrize("workers", [1, 3])
def test_a_reader_that_dies_is_one_line(workers, capsys):
    with pytest.raises(SystemExit) as end:
        run(lambda: list(DataLoader(Dying(), num_workers=workers)))
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "a process that reads data has died" in told


@pytest.mark.parametrize("function", ["end_quietly", "end_readers"])
def test_a_reader_that_dies_while_another_is_dealt_with(function, capsys, monkeypatch):
    def handler(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    function_itself, deaths = getattr(cli, function), [1, 2, 3]

    def interrupted(*arguments):
        if deaths:
            deaths.pop()
            signal.raise_signal(signal.SIGCHLD)
        function_itself(*arguments)

    def main():
        monkeypatch.setattr(cli, function, interrupted)
        raise EOFError  # of the first one's socket

    before = signal.signal(signal.SIGCHLD, handler)
    try:
        with pytest.raises(SystemExit) as end:
            run(main)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert end.value.code == 1 and not deaths
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "a process that reads data has died" in told


def test_what_an_outage_leaves_is_told_whatever_follows_it():
    try:
        try:
            raise OutageError("the disk is full; last.pth is kept")
        finally:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    except RuntimeError as error:
        assert find_outage(error) == "the disk is full; last.pth is kept"


@pytest.mark.parametrize(
    "entry, damage",
    [
        ("progress", {"step": "three"}),
        ("progress", None),
        ("optimizer", {"state": {}, "param_groups": []}),
        ("optimizer", {"state": {0: {"step": 1}}, "param_groups": []}),
        ("scheduler", {"last_epoch": -1, "_step_count": 1}),
        ("scheduler", {}),
    ],
)
def test_a_damaged_training_state_is_one_line(entry, damage, run_stage, runs, load, capsys):
    assert run_stage("student", "--num-epochs", "1") == 0
    last = runs / NAME / "last.pth"
    content = load(last)
    content["training"][entry] = damage
    torch.save(content, last)
    capsys.readouterr()
    assert run_stage("student", "--num-epochs", "2", "--resume") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and str(last) in told
