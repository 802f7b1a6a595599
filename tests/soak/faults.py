"""Faults in training runs, and what is left of these: counts of what held and what did not."""

import csv
import os
import random
import resource
import shutil
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import torch

from tests.soak.commands import PATIENCE, Process, start
from tests.train.conftest import assert_same

PACE = ("images_per_second", "data_waiting")
# Stage, flags and loader workers; all with last groups of --accumulate, averages or adapters.
SETTINGS = {
    "student": ("student", ["--num-epochs", "4", "--ema", "0.9", "--num-workers", "0"]),
    "workers": ("student", ["--num-epochs", "4", "--accumulate", "3", "--num-workers", "2"]),
    "sekd": ("sekd", ["--num-epochs", "3", "--teacher-val", "no", "--num-workers", "1"]),
}


class Bench:
    """Runs of `SETTINGS` in a folder, each compared with an undisturbed one."""

    def __init__(self, folder: Path, data: Path, seed: int) -> None:
        self.folder, self.data, self.random = folder, data, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.output = folder / "output.txt"
        self.name = ""

    def start(self, setting: str, *more: str, first=int) -> Process:
        """Start a run under the current name, or resume it if it has saved."""
        stage, flags = SETTINGS[setting]
        words = [*flags, "--savedir", str(self.folder), "--run-name", self.name, *more]
        if stage == "sekd":
            words += ["--teacher", str(self.folder / "teacher" / "best.pth")]
        words.append("--resume" if (self.run / "last.pth").exists() else "--overwrite")
        return start(stage, self.data, words, self.output, first)

    @property
    def run(self) -> Path:
        """The current run's folder."""
        return self.folder / self.name

    def begin(self, name: str) -> None:
        """Make a new run the current one."""
        self.name = name
        shutil.rmtree(self.run, ignore_errors=True)

    def make_references(self) -> None:
        """Train a teacher, and each setting undisturbed."""
        words = ["--num-epochs", "1", "--savedir", str(self.folder), "--run-name", "teacher"]
        assert start("teacher", self.data, words, self.output).wait(600) == 0, self.output
        for setting in SETTINGS:
            self.begin(f"{setting}-whole")
            began = time.monotonic()
            assert self.start(setting).wait(600) == 0, self.output.read_text()
            self.seconds[setting] = time.monotonic() - began

    def finish(self, setting: str) -> None:
        """Resume the current run to its end, and compare it with the undisturbed one."""
        process = self.start(setting)
        status = self.ended(process, 600)
        self.counts["resumed to the end"] += status == 0
        self.counts["not resumed"] += status != 0
        self.compare(setting)

    def compare(self, setting: str) -> None:
        """Count whether the current run, which has ended, is the undisturbed one."""
        whole = self.folder / f"{setting}-whole"
        try:
            for name, keys in (("last.pth", ("model", "adapters", "training", "metrics")),
                               ("best.pth", ("model", "metrics"))):  # fmt: skip
                one, other = (torch.load(f / name, weights_only=True) for f in (whole, self.run))
                for key in keys:
                    assert_same(one[key], other[key], key)
            self.counts["bit for bit"] += 1
        except (AssertionError, OSError, RuntimeError):
            self.counts["other weights"] += 1
        same = _log(whole) == _log(self.run)
        self.counts["same log" if same else "other log"] += 1
        left = [path for path in self.folder.iterdir() if path.name.startswith(".")]
        left += self.run.glob(".*")
        self.counts["leftovers"] += len(left)

    def ended(self, process: Process, seconds: float = PATIENCE) -> int | None:
        """Wait for a process; count it as hanging, and end it, if it does not end."""
        status = process.wait(seconds)
        if status is None:
            self.counts["hangs"] += 1
            process.end()
        self.counts["tracebacks"] += "Traceback" in process.said
        return status

    def moment(self, setting: str) -> float:
        """A random moment of a run, in seconds from its start."""
        return self.random.uniform(0.2, self.seconds[setting])


def _log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: cell for name, cell in row.items() if name not in PACE} for row in rows]


def kills(bench: Bench, count: int) -> None:
    """SIGKILL at random moments: every checkpoint loads, and the run ends like the undisturbed."""
    while bench.counts["kills"] < count:
        setting = bench.random.choice(list(SETTINGS))
        bench.begin("killed")
        for _ in range(bench.random.randint(1, 4)):
            process = bench.start(setting)
            status = process.wait(bench.moment(setting))
            if status is not None:
                break
            process.end()
            bench.counts["kills"] += 1
            for path in bench.run.glob("*.pth"):
                torch.load(path, weights_only=True)
                bench.counts["checkpoints that load"] += 1
        bench.finish(setting)


def signals(bench: Bench, count: int) -> None:
    """SIGINT or SIGTERM, to the process or its group, once or twice; then --resume."""
    while bench.counts["signals"] < count:
        setting = bench.random.choice(list(SETTINGS))
        bench.begin("signalled")
        process = bench.start(setting)
        if process.wait(bench.moment(setting)) is not None:
            continue
        bench.counts["signals"] += 1
        signum = bench.random.choice((signal.SIGINT, signal.SIGTERM))
        send = bench.random.choice((os.kill, os.killpg))
        began = time.monotonic()
        for _ in range(bench.random.choice((1, 1, 2))):
            send(process.pid, signum)
            if process.wait(0.3) is not None:
                break
        else:
            status = bench.ended(process)
            bench.counts["ended with 130"] += status in (0, 130)
            bench.counts["ended otherwise"] += status not in (0, 130, None)
        took = round(time.monotonic() - began, 1)
        bench.seconds["longest end"] = max(took, bench.seconds.get("longest end", 0))
        bench.finish(setting)


def dead_workers(bench: Bench, count: int) -> None:
    """SIGKILL of one loader worker: one line, status 1, and --resume."""
    while bench.counts["dead workers"] < count:
        setting = bench.random.choice(("workers", "sekd"))
        bench.begin("worker")
        process = bench.start(setting)
        if process.wait(bench.moment(setting)) is not None:
            continue
        readers = psutil.Process(process.pid).children()
        if not readers:
            process.end()
            continue
        bench.random.choice(readers).kill()
        status = bench.ended(process)
        if status == 0:  # it had read all that it was to read
            continue
        bench.counts["dead workers"] += 1
        bench.counts["one line, status 1"] += status == 1 and process.told_in_one_line
        bench.finish(setting)


def full_disks(bench: Bench, count: int) -> None:
    """A limit that a file reaches while it is written: one line, status 1, and --resume."""
    largest = max(path.stat().st_size for path in bench.folder.glob("*-whole/*.pth"))
    for _ in range(count):
        setting = bench.random.choice(list(SETTINGS))
        bench.begin("full")
        limit = bench.random.randrange(largest)
        process = bench.start(setting, first=partial(_limit_files, limit))
        status = bench.ended(process, 600)
        bench.counts["full disks"] += 1
        bench.counts["one line, status 1"] += status == 1 and process.told_in_one_line
        for path in bench.run.glob("*.pth"):
            torch.load(path, weights_only=True)
            bench.counts["checkpoints that load"] += 1
        bench.finish(setting)


def _limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
