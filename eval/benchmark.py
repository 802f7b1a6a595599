"""Measure speed and memory of everything beside what else does the same, in one run.

    python eval/benchmark.py --check

Each measurement is a program of `benchmarks/` with a process of its own, so that its peak memory
is its own; within it the contenders take turns. Run it on a machine that does nothing else.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from tqdm import tqdm

from eval.arguments import positive_integer
from eval.bars import BARS, Record
from eval.benchmark_plan import PLAN
from eval.benchmark_tables import draw_growth, print_bars, write_markdown
from eval.cli import OneLineParser, run
from eval.device import choose_device
from eval.machine import describe_machine
from eval.results import write_json

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ("transformers", "segmentation-models-pytorch", "torchmetrics", "onnxruntime")


def main() -> int:
    """Run the command line; the status is 1 where `--check` finds a bar missed."""
    args = build_parser().parse_args()
    device = choose_device(args.device)
    args.output.mkdir(parents=True, exist_ok=True)
    records = measure(args)
    machine = describe_machine(device, *RIVALS)
    table, figures, picture = (args.output / f"benchmark.{end}" for end in ("md", "json", "png"))
    write_json(figures, {"machine": machine, "records": records})
    drawn = draw_growth(records, picture)
    bars = [bar for bar in BARS if bar.part in args.parts]
    write_markdown(table, bars, records, machine, picture if drawn else None)
    print_bars(bars, records, Console())
    print(f"tables: {table}\nfigures: {figures}" + (f"\npicture: {picture}" if drawn else ""))
    return int(args.check and not all(bar.holds(bar.measured(records)) for bar in bars))


def measure(args: argparse.Namespace) -> list[Record]:
    """Run the programs of the parts one after the other.

    Raises:
        ValueError: a program failed; it has printed why.
    """
    commands = [(part, words) for part in args.parts for words in PLAN[part]]
    common = ["--device", args.device] if args.device else []
    common += ["--rounds", str(args.rounds)] if args.rounds else []
    records: list[Record] = []
    for part, (program, *words) in (bar := tqdm(commands, unit="program", disable=None)):
        bar.set_postfix_str(f"{part}: {' '.join([program, *words])}"[:80])
        command = [sys.executable, str(ROOT / "benchmarks" / program), *common, *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ValueError(f"part {part}: {' '.join(command)} ended with {done.returncode}")
        records += [{"part": part, **json.loads(line)} for line in done.stdout.splitlines()]
    return records


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Measure speed and memory, side by side with other code.")
    add = parser.add_argument
    add("--parts", nargs="+", choices=tuple(PLAN), default=list(PLAN), help="default: all")
    add("--check", action="store_true", help="exit with status 1 where a bar is missed")
    add("--device", help="cpu, cuda, … (default: cuda where there is one)")
    add("--rounds", type=positive_integer, help="timed calls (default: each program's own)")
    add("--output", type=Path, default=Path("runs/benchmark"), metavar="DIR",
        help="folder for tables, figures and the picture")  # fmt: skip
    return parser


if __name__ == "__main__":
    run(main)
