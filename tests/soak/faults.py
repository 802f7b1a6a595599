"""Faults in training runs. Each deals one, resumes the run and compares it with an undisturbed one.

Each returns False if the run had ended before the fault could meet it: it is tried again.
"""

import os
import resource
import shutil
import signal
import time
from functools import partial

import psutil

from tests.soak.bench import LONGEST, SETTINGS, Bench
from tests.soak.commands import AFTER_ITS_END, POLL_SECONDS

ALONE = [name for name, setting in SETTINGS.items() if setting.processes == 1]
READERS = [name for name in ALONE if "--num-workers 0" not in SETTINGS[name].flags]


def kill(bench: Bench) -> bool:
    """SIGKILL at one or two random moments: every checkpoint loads."""
    setting = bench.draw(*ALONE)
    bench.begin("killed")
    times = bench.random.choice((1, 1, 2))
    killed = 0
    while killed < times:
        process = bench.start(setting)
        if not bench.reach(process, setting):
            break
        place = process.place
        process.end()
        if place == AFTER_ITS_END:
            break
        bench.counts[f"killed {place}"] += 1
        killed += 1
        bench.check_checkpoints()
    if not killed:
        return False
    bench.counts["kills"] += killed
    bench.counts["runs killed"] += 1
    bench.finish(setting)
    return True


def interrupt(bench: Bench) -> bool:
    """SIGINT or SIGTERM, to the process or its group, once or twice."""
    setting = bench.draw(*ALONE)
    bench.begin("signalled")
    process = bench.start(setting)
    if not bench.reach(process, setting):
        return False
    bench.counts["signals"] += 1
    bench.counts[f"met {process.place}"] += 1
    signum = bench.random.choice((signal.SIGINT, signal.SIGTERM))
    send = bench.random.choice((os.kill, os.killpg))
    twice = bench.random.random() < 0.3
    began = time.monotonic()
    send(process.pid, signum)
    if twice and (status := process.wait(0.3)) is None:
        bench.counts["signalled twice"] += 1
        send(process.pid, signum)
    if not twice or status is None:
        status = bench.ended(process)
    _note_longest(bench, began)
    if status in (0, 130):
        bench.counts["ended with 130" if status else "had just ended by itself"] += 1
    else:
        bench.note("ended otherwise", process, f"{signum.name}, status {status}")
    bench.finish(setting)
    return True


def kill_reader(bench: Bench) -> bool:
    """SIGKILL of one loader worker: one line, status 1."""
    setting = bench.draw(*READERS)
    bench.begin("reader")
    process = bench.start(setting)
    if not bench.reach(process, setting):
        return False
    readers = psutil.Process(process.pid).children()
    if not readers:
        process.end()
        return False
    began = time.monotonic()
    bench.random.choice(readers).kill()
    status = bench.ended(process)
    if status == 0:  # it had read all that it was to read
        return False
    bench.counts["dead workers"] += 1
    _note_longest(bench, began)
    bench.expect_one_line(process, status)
    bench.finish(setting)
    return True


def fill_disk(bench: Bench) -> bool:
    """A limit that a file reaches while it is written: one line, status 1."""
    setting = bench.draw(*ALONE)
    largest = max(path.stat().st_size for path in bench.folder.glob(f"{setting}-whole/*.pth"))
    bench.begin("full")
    limit = bench.random.randrange(16_384, largest)  # more than it prints
    process = bench.start(setting, first=partial(_limit_files, limit))
    status = bench.ended(process, LONGEST)
    bench.counts["full disks"] += 1
    bench.expect_one_line(process, status)
    bench.check_checkpoints()
    bench.finish(setting)
    return True


def kill_one_of_two(bench: Bench) -> bool:
    """SIGKILL of one of two processes: the other ends in one line; 1, 2 and 4 can go on.

    The processes are told what `torchrun` tells them, but nobody ends the other one.
    """
    setting = "two"
    bench.begin("one-of-two")
    members = bench.start_together(setting, 2)
    while "device: " not in members[0].said:  # so far torchrun alone knows of both
        assert members[0].wait(POLL_SECONDS) is None, members[0].said
    if not bench.reach(members[0], setting):
        bench.ended(members[1])
        return False
    bench.random.shuffle(members)
    dying, other = members
    bench.counts["dead processes"] += 1
    bench.counts[f"killed {dying.place}"] += 1
    began = time.monotonic()
    dying.end()
    status = bench.ended(other)
    _note_longest(bench, began)
    if status == 0:
        bench.counts["other process had just ended"] += 1
    else:
        bench.expect_one_line(other, status)
    bench.check_checkpoints()
    killed = bench.folder / "one-of-two-killed"
    if bench.run.exists():  # else it was killed before there was a folder
        bench.run.rename(killed)
    for processes in (1, 4, 2):
        if killed.exists():
            shutil.copytree(killed, bench.run)
        resuming = bench.start_together(setting, processes)
        statuses = [bench.ended(each, LONGEST) for each in resuming]
        bench.resumed(*statuses)
        if not any(statuses):
            bench.counts[f"resumed with {processes}"] += 1
        if processes == 2:
            bench.compare(setting)
        shutil.rmtree(bench.run)
    shutil.rmtree(killed, ignore_errors=True)
    return True


FAULTS = {
    "kills": kill,
    "signals": interrupt,
    "dead_workers": kill_reader,
    "full_disks": fill_disk,
    "two_process": kill_one_of_two,
}


def _limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _note_longest(bench: Bench, began: float) -> None:
    took = round(time.monotonic() - began)
    bench.counts["seconds of the longest end"] = max(
        took, bench.counts["seconds of the longest end"]
    )
