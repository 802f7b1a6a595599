"""Runs in a folder, each of them compared with an undisturbed one."""

import csv
import random
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import train.checkpoint
from tests.soak.commands import PATIENCE, Process, start
from tests.train.conftest import assert_same

PACE = ("images_per_second", "data_waiting")
LONGEST = 600  # seconds that a whole run may take


@dataclass(frozen=True)
class Setting:
    """A training run.

    Attributes:
        stage, flags: its command.
        save_seconds: between two checkpoints in the middle of an epoch; for a run of days it is
            five minutes.
        processes: that train together.
    """

    stage: str
    flags: str
    save_seconds: float = train.checkpoint.SAVE_AFTER_SECONDS
    processes: int = 1


# All with last groups of --accumulate, averages, adapters or loader workers.
SETTINGS = {
    "student": Setting("student", "--num-epochs 3 --ema 0.9 --num-workers 0", 0.3),
    "workers": Setting("student", "--num-epochs 4 --accumulate 3 --num-workers 2"),
    "sekd": Setting("sekd", "--num-epochs 3 --teacher-val no --num-workers 1", 0.3),
    "two": Setting("sekd", "--num-epochs 3 --teacher-val no --num-workers 0", processes=2),
}


class Bench:
    """Runs of `SETTINGS`, and counts of what held.

    Attributes:
        counts: of the faults of one kind.
        cpu_seconds: that each setting computes for, undisturbed.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data, self.random = folder, data, random.Random()
        self.counts: Counter[str] = Counter()
        self.cpu_seconds: dict[str, float] = {}
        self.name = ""

    def start(
        self, setting: str, first: Callable[[], object] = int, leaves: bool = True
    ) -> Process:
        """Start a run under the current name, or resume it if it has saved."""
        return self._start(SETTINGS[setting], first, self.folder / "output.txt", {}, leaves)

    def start_together(self, setting: str, processes: int) -> list[Process]:
        """Start a run of several processes, with what `torchrun` tells each of them."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        group |= {name: str(processes) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
        return [
            self._start(
                SETTINGS[setting],
                int,
                self.folder / f"output-{rank}.txt",
                {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(processes)
        ]

    def _start(
        self,
        setting: Setting,
        first: Callable[[], object],
        output: Path,
        environment: dict[str, str],
        leaves: bool = True,
    ) -> Process:
        words = [*setting.flags.split(), "--datadir", str(self.data)]
        words += ["--savedir", str(self.folder), "--run-name", self.name]
        if setting.stage == "sekd":
            words += ["--teacher", str(self.folder / "teacher" / "best.pth")]
        words.append("--resume" if (self.run / "last.pth").exists() else "--overwrite")

        def prepare() -> None:
            train.checkpoint.SAVE_AFTER_SECONDS = setting.save_seconds
            first()

        return start(setting.stage, words, output, prepare, environment, leaves)

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
        words = f"--num-epochs 1 --datadir {self.data} --savedir {self.folder} --run-name teacher"
        teacher = start("teacher", words.split(), self.folder / "output.txt")
        assert teacher.wait(LONGEST) == 0, teacher.said
        for name, setting in SETTINGS.items():
            self.begin(f"{name}-whole")
            if setting.processes == 1:
                members = [self.start(name)]
            else:
                members = self.start_together(name, setting.processes)
            statuses = [each.wait(LONGEST) for each in members]
            assert not any(statuses), [each.said for each in members]
            self.cpu_seconds[name] = members[0].cpu_seconds

    def draw(self, *names: str) -> str:
        """A random setting of those named."""
        return self.random.choice(names)

    def moment(self, setting: str) -> float:
        """A random moment of a run, in seconds that it has computed for."""
        return self.random.uniform(0.05, self.cpu_seconds[setting])

    def reach(self, process: Process, setting: str) -> bool:
        """Wait for a random moment of a run; False if the run has ended before."""
        return process.wait(LONGEST, self.moment(setting)) is None

    def finish(self, setting: str) -> None:
        """Resume the current run to its end, and compare it with the undisturbed one."""
        self.resumed(self.ended(self.start(setting, leaves=False), LONGEST))
        self.compare(setting)

    def resumed(self, *statuses: int | None) -> None:
        """Count a run that was resumed, by the exit statuses of its processes."""
        self.counts[
            "not resumed" if any(statuses) or None in statuses else "resumed to the end"
        ] += 1

    def check_checkpoints(self) -> None:
        """Load each checkpoint of the current run."""
        for path in self.run.glob("*.pth"):
            try:
                torch.load(path, weights_only=True)
                self.counts["checkpoints that load"] += 1
            except (RuntimeError, OSError, EOFError):
                self.counts["broken checkpoints"] += 1

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
        same = log_of(whole) == log_of(self.run)
        self.counts["same log" if same else "other log"] += 1
        left = [path for path in self.folder.iterdir() if path.name.startswith(".")]
        self.counts["leftovers"] += len(left) + len(list(self.run.glob(".*")))

    def ended(self, process: Process, seconds: float = PATIENCE) -> int | None:
        """Wait for a process; count it as hanging, and end it, if it does not end."""
        status = process.wait(seconds)
        if status is None:
            self.note("hangs", process, f"at {process.place}")
            process.end()
        if "Traceback" in process.said:
            self.note("tracebacks", process, f"status {status}")
        return status

    def note(self, fault: str, process: Process, word: str) -> None:
        """Count what did not hold, and show what the process had printed."""
        self.counts[fault] += 1
        print(f"{fault}: {self.name}, {word}\n{process.said}", flush=True)

    def expect_one_line(self, process: Process, status: int | None) -> None:
        """Count whether a process has ended for an outage: one line, status 1."""
        if status == 1 and process.told_in_one_line:
            self.counts["one line, status 1"] += 1
        else:
            self.note("ended otherwise", process, f"status {status}")


def log_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's log, but for its columns of speed."""
    try:
        with (folder / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    return [{name: cell for name, cell in row.items() if name not in PACE} for row in rows]
