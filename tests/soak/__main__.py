"""Put training runs through faults and readers through damaged files, and count what held.

python -m tests.soak --kills 200 --signals 100 --dead-workers 20 --full-disks 30 --two-process 10 \
    --inputs 100000
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from command_line.outputs import replacing
from command_line.progress import progress
from tests.soak.bench import Bench
from tests.soak.commands import prepare
from tests.soak.faults import FAULTS

BAD = ("hangs", "tracebacks", "other weights", "other log", "not resumed", "leftovers",
       "ended otherwise", "broken checkpoints", "raw errors", "crashes")  # fmt: skip


def main() -> int:
    """Run the trials; print their counts, and return 1 if anything did not hold."""
    args = build_parser().parse_args()
    # Not a context manager: a forked command leaves through here as well.
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    bench = Bench(folder, prepare(folder))
    bench.make_references()
    record = Record(args.json)
    for trial, deal in FAULTS.items():
        count = getattr(args, trial)
        record.begin(trial, bench.counts)
        with progress(trial, "trial", count) as bar:
            for number in range(count):
                bench.random = random.Random(f"{args.seed} {trial} {number}")
                while not deal(bench):
                    pass
                record.write()
                bar.update()
        record.end()
    # Only now: a library of its commands has threads, without which forked runs cannot end.
    from tests.soak.inputs import Damage

    damage = Damage(folder, folder / "student-whole" / "last.pth", args.inputs, args.seed)
    record.begin("inputs", damage.counts)
    with progress("inputs", "input", args.inputs) as bar:
        for tried in damage:
            record.write()
            bar.update(tried)
    record.end()
    shutil.rmtree(folder)
    return int(any(counts.get(each) for counts in record.counts.values() for each in BAD))


class Record:
    """Counts by kind of trial, in a file that is up to date whenever the soak is killed."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.counts: dict[str, Counter[str]] = {}

    def begin(self, trial: str, counts: Counter[str]) -> None:
        """Count another kind of trial."""
        self.trial, self.began = trial, time.monotonic()
        self.current = counts
        self.current.clear()

    def write(self) -> None:
        """Bring the file up to date."""
        self.counts[self.trial] = self.current | {"seconds": round(time.monotonic() - self.began)}
        if self.path is not None:
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(self.counts, indent=2) + "\n")

    def end(self) -> None:
        """Print the counts of this kind of trial."""
        self.write()
        print(f"{self.trial}: {dict(self.counts[self.trial])}", flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in (*FAULTS, "inputs"):
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts as they grow")
    return parser


if __name__ == "__main__":
    sys.exit(main())
