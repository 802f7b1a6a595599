"""Train the same short runs in two checkouts, and compare every loss and every weight bit for bit.

    python -m tests.same_numbers BEFORE AFTER [RUN ...]

A refactoring must not change a number at a fixed seed. Make the other checkout with `git worktree
add ../before COMMIT`. Without names of runs, a teacher, a student and every method of BEFORE run.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the order of a sum depends on it

import torch

from tests.scripts import execute

STEPS = 20
FLAGS = (
    *("--dataset", "Synthetic", "--height", "64", "--image-size", "64x84", "--batch-size", "2"),
    *("--max-steps", str(STEPS), "--limit-train", "8", "--limit-val", "2"),
    *("--num-workers", "0", "--device", "cpu"),
    *("--seed", "3", "--lr", "6e-4", "--clip-grad", "1", "--steps-loss", "1"),
)
METHODS = "from losses import METHODS; print(*METHODS)"


def main() -> int:
    """Compare the runs; the status is 1 where a number differs."""
    before, after, *names = sys.argv[1:]
    checkouts = [Path(before).resolve(), Path(after).resolve()]
    names = names or ["teacher", "student", *methods_of(checkouts[0])]
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, checkout in enumerate(checkouts):
            train(checkout, "teacher", Path(folder, str(number)), "--model", "SegformerB1")
        for name in names:
            folders = [Path(folder, str(number)) for number in range(2)]
            runs = [train_named(c, name, f) for c, f in zip(checkouts, folders, strict=True)]
            differences = compare(*runs)
            different += bool(differences)
            print(f"{name}: {'; '.join(differences) or 'the same'}", flush=True)
    return int(different > 0)


def train_named(checkout: Path, name: str, savedir: Path) -> Path:
    """Train a stage, or a student by a method; return the run folder."""
    if name == "teacher":
        return savedir / "teacher"
    if name == "student":
        return train(checkout, "student", savedir, "--model", "SegformerB0")
    teacher = ("--teacher", str(savedir / "teacher" / "last.pth"), "--teacher-val", "false")
    return train(checkout, "sekd", savedir, "--method", name, *teacher)


def train(checkout: Path, stage: str, savedir: Path, *flags: str) -> Path:
    """Run a training script; return the run folder, which is the same for every method.

    Images get a size that all commits agree on: a short side alone was not always rounded alike.
    """
    words = (*FLAGS, *flags, "--savedir", str(savedir), "--run-name", stage, "--overwrite")
    execute(checkout / "train" / f"train_{stage}.py", words, savedir.parent)
    return savedir / stage


def methods_of(checkout: Path) -> list[str]:
    """The methods that a checkout knows."""
    words = [sys.executable, "-c", METHODS]
    return subprocess.run(words, cwd=checkout, stdout=subprocess.PIPE, text=True).stdout.split()


def compare(before: Path, after: Path) -> list[str]:
    """Name what differs between two run folders: losses in log.csv, tensors in last.pth."""
    differences = []
    logs = [losses(run / "log.csv") for run in (before, after)]
    if logs[0] != logs[1]:
        differences.append("losses differ")
    one, other = (
        tensors(torch.load(run / "last.pth", weights_only=True)) for run in (before, after)
    )
    assert one, f"no tensors in {before}"
    if one.keys() != other.keys():
        differences.append(f"other entries: {sorted(one.keys() ^ other.keys())[:3]}")
    unequal = [key for key in one.keys() & other.keys() if not torch.equal(one[key], other[key])]
    if unequal:
        differences.append(f"{len(unequal)} of {len(one)} tensors differ, such as {min(unequal)}")
    return differences


def losses(log: Path) -> list[list[str]]:
    """The rows of a log without the columns that time a run."""
    rows = [line.split(",") for line in log.read_text().splitlines()]
    timed = {rows[0].index(name) for name in ("images_per_second", "data_waiting")}
    return [[cell for i, cell in enumerate(row) if i not in timed] for row in rows]


def tensors(content: object, place: str = "") -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint by their place in it."""
    if isinstance(content, torch.Tensor):
        return {place: content}
    items = content.items() if isinstance(content, dict) else ()
    if isinstance(content, list | tuple):
        items = enumerate(content)
    return {k: v for key, part in items for k, v in tensors(part, f"{place}/{key}").items()}


if __name__ == "__main__":
    sys.exit(main())
