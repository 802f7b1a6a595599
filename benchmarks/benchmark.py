"""Measure speed and memory of everything next to its alternatives, in one run.

    python benchmarks/benchmark.py --check

Each measurement is a program in `benchmarks/` that runs in its own process, so that its peak memory
is measured separately; within it the contenders take turns. Run it on an otherwise idle machine.
Results are saved after every program: `--resume` continues an interrupted run.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from rich.console import Console
from tqdm import tqdm

from benchmarks.bars import BARS, Record
from benchmarks.plan import PLAN
from benchmarks.tables import draw_growth, print_bars, write_markdown
from command_line.arguments import positive_integer
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from eval.deployment.machine import describe_machine
from eval.results import write_json

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ("transformers", "segmentation-models-pytorch", "torchmetrics", "onnxruntime")


def main() -> int:
    """Run the command line; the status is 1 if `--check` finds a missed bar."""
    args = build_parser().parse_args()
    device = choose_device(args.device)
    args.output.mkdir(parents=True, exist_ok=True)
    table, figures, picture = (args.output / f"benchmark.{end}" for end in ("md", "json", "png"))
    machine = describe_machine(device, *RIVALS)
    records = read_records(figures, machine) if args.resume else []
    for measured in measure(args, {record["program"] for record in records}):
        records += measured
        write_json(figures, {"machine": machine, "records": records})
    records.sort(key=lambda record: list(PLAN).index(record["part"]))
    drawn = draw_growth(records, picture)
    bars = [bar for bar in BARS if bar.part in args.parts]
    write_markdown(table, bars, records, machine, picture if drawn else None)
    print_bars(bars, records, Console())
    print(f"tables: {table}\nfigures: {figures}" + (f"\npicture: {picture}" if drawn else ""))
    return int(args.check and not all(bar.holds(bar.measured(records)) for bar in bars))


def read_records(figures: Path, machine: dict[str, str]) -> list[Record]:
    """Return the records of an interrupted run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it ran on another machine or with other versions.
    """
    try:
        found = json.loads(figures.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"--resume: there is no {figures}; leave it out") from None
    if found["machine"] != machine:
        raise ValueError(f"--resume: {figures} is of another machine or of other versions")
    return found["records"]


def measure(args: argparse.Namespace, known: set[str]) -> Iterator[list[Record]]:
    """Run the programs of the parts, except known ones; yield the records of each.

    Raises:
        ValueError: a program failed; it has printed why.
    """
    programs = [(part, words) for part in args.parts for words in PLAN[part]]
    programs = [(part, words) for part, words in programs if " ".join(words) not in known]
    common = ["--device", args.device] if args.device else []
    common += ["--rounds", str(args.rounds)] if args.rounds else []
    for part, words in (bar := tqdm(programs, unit="program", disable=None)):
        bar.set_postfix_str(f"{part}: {' '.join(words)}"[:80])
        command = [sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:], *common]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ValueError(f"part {part}: {' '.join(command)} ended with {done.returncode}")
        origin = {"part": part, "program": " ".join(words)}
        yield [{**origin, **json.loads(line)} for line in done.stdout.splitlines()]


def build_parser() -> OneLineParser:
    """Return the command line parser."""
    parser = OneLineParser(description="Measure speed and memory, side by side with other code.")
    add = parser.add_argument
    add("--parts", nargs="+", choices=tuple(PLAN), default=list(PLAN), help="default: all")
    add("--resume", action="store_true", help="continue an interrupted run in --output")
    add("--check", action="store_true", help="exit with status 1 where a bar is missed")
    add("--device", help="cpu, cuda, … (default: cuda where there is one)")
    add("--rounds", type=positive_integer, help="timed calls (default: each program's own)")
    add("--output", type=Path, default=Path("runs/benchmark"), metavar="DIR",
        help="folder for tables, figures and the picture")  # fmt: skip
    return parser


if __name__ == "__main__":
    run(main)
