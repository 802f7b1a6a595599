"""Put training runs through faults and readers through damaged files, and count what held.

python -m tests.soak --kills 200 --signals 100 --dead-workers 20 --full-disks 30 --inputs 100000
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import faults
from tests.soak.commands import prepare
from tests.soak.faults import Bench
from tests.soak.inputs import inputs

FAULTS = {
    "kills": faults.kills,
    "signals": faults.signals,
    "dead_workers": faults.dead_workers,
    "full_disks": faults.full_disks,
}
BAD = ("hangs", "tracebacks", "other weights", "other log", "not resumed", "leftovers",
       "ended otherwise", "raw errors")  # fmt: skip


def main() -> int:
    """Run the trials; print their counts, and return 1 if anything did not hold."""
    args = build_parser().parse_args()
    found: dict[str, dict[str, float]] = {}
    raw: list[str] = []
    # Not a context manager: a forked command leaves through here as well.
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    bench = Bench(folder, prepare(folder), args.seed)
    bench.make_references()
    for trial, run in FAULTS.items():
        began = time.monotonic()
        bench.counts.clear()
        run(bench, getattr(args, trial))
        found[trial] = dict(bench.counts) | {"seconds": round(time.monotonic() - began)}
        print(f"{trial}: {found[trial]}", flush=True)
    began = time.monotonic()
    counts, raw = inputs(folder, folder / "student-whole" / "last.pth", args.inputs, args.seed)
    found["inputs"] = dict(counts) | {"seconds": round(time.monotonic() - began)}
    print(f"inputs: {found['inputs']}", *raw, sep="\n", flush=True)
    shutil.rmtree(folder)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return int(bool(raw) or any(counts.get(each) for counts in found.values() for each in BAD))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--kills", "--signals", "--dead-workers", "--full-disks", "--inputs"):
        parser.add_argument(name, type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
