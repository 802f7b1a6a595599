"""Print the published tables next to this project's counts and measurements.

    python eval/tables.py
    python eval/tables.py --format markdown
    python eval/tables.py --check

Params and FLOPs are counted on the published formulation by the papers' own rules, which include
the adapters of a distilled student and omit attention products. Next to them are the true
multiply-adds of the student alone, as published and as deployed here.
"""

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from rich.console import Console
from rich.table import Table

from command_line.cli import OneLineParser, run
from eval.complexity import count_parameters, multiply_adds, paper_params_flops
from eval.published.adapters import ADAPTERS
from eval.published.rows import ROWS, Row
from eval.reporting.markdown import markdown_table
from models import Segmenter, build_model

RESULTS = Path(__file__).resolve().parents[1] / "results"
# Rule -> images, height, width. Without attention products, two half images cost as much as one.
INPUTS = {"thop": (2, 512, 512), "transkd": (1, 512, 1024)}
TRUE_SIZE = (512, 1024)
LEFT = ("table", "data (classes)", "model", "agrees")
COLUMNS = (
    "table", "data (classes)", "model", "Params M", "counted M", "FLOPs G", "counted G", "agrees",
    "deployed M", "true G", "deployed G", "mIoU", "mIoU here",
)  # fmt: skip


@dataclass(frozen=True)
class Count:
    """Cost of a row by its paper's rule, in the units of the tables."""

    params: str
    flops: str

    def agrees(self, row: Row) -> bool:
        """Whether the counts equal the row's expected ones, to the printed digit."""
        params = row.counted_params or row.params
        flops = row.counted_flops or row.flops
        return (self.params, self.flops) == (params, flops)


def main() -> int:
    """Run the command line; the exit status is 1 if `--check` finds a disagreement."""
    args = build_parser().parse_args()
    scores = read_results(args.results)
    counts = [
        count(row.model, row.num_classes, row.rule, row.adapters, row.teacher) for row in ROWS
    ]
    lines = [cells(row, counted, scores) for row, counted in zip(ROWS, counts, strict=True)]
    WRITERS[args.format](lines)
    wrong = [row for row, counted in zip(ROWS, counts, strict=True) if not counted.agrees(row)]
    for row in wrong:
        print(f"disagrees: {row.table}, {row.dataset}, {row.label}", file=sys.stderr)
    return int(args.check and bool(wrong))


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = OneLineParser(
        description="Print the published tables beside what this project counts and measures.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--format", choices=WRITERS, default="text", help="how to print")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with status 1 if a count that must agree with the print does not",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="folder of files written by eval.py --json; their mIoU fills the last column",
    )
    return parser


@lru_cache
def count(
    model: str, num_classes: int, rule: str, adapters: str = "none", teacher: str | None = None
) -> Count:
    """Count the cost of a published row; the arguments are fields of `Row`."""
    network, wide = _network(model, num_classes), _network(teacher or model, num_classes)
    images, height, width = INPUTS[rule]
    beside = ADAPTERS[adapters](network.widths, wide.widths, height, width)
    params, flops = paper_params_flops(network, beside, height, width, rule)
    return Count(f"{params / 1e6:.2f}", f"{images * flops / 1e9:.2f}")


@lru_cache
def _network(name: str, num_classes: int) -> Segmenter:
    with torch.device("meta"):  # only shapes are needed
        return build_model(name, num_classes)


@lru_cache
def true_cost(name: str, num_classes: int) -> list[str]:
    """Return deployed parameters in millions, published and actual multiply-adds in billions."""
    network = _network(name, num_classes)
    flops = (multiply_adds(network, *TRUE_SIZE, plain=plain) for plain in (True, False))
    return [f"{count_parameters(network) / 1e6:.2f}", *(f"{value / 1e9:.2f}" for value in flops)]


def read_results(folder: Path) -> dict[tuple, dict[str, list[float]]]:
    """Collect the mIoU from every file that eval.py wrote in a folder.

    Returns:
        {(data set, model, method): {protocol: [mIoU in percent, ...]}}; empty if it does not exist.

    Raises:
        ValueError: a file is not JSON.
    """
    scores: dict[tuple, dict[str, list[float]]] = {}
    for path in sorted(folder.glob("**/*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not a JSON file ({error})") from None
        if isinstance(result, dict) and {"miou", "dataset", "model", "protocol"} <= result.keys():
            key = (result["dataset"], result["model"], result.get("method"))
            by_protocol = scores.setdefault(key, {})
            by_protocol.setdefault(result["protocol"], []).append(100 * result["miou"])
    return scores


def cells(row: Row, counted: Count, scores: dict[tuple, dict[str, list[float]]]) -> list[str]:
    """Return one line of the table."""
    if row.note:
        agrees = "not reproducible" if counted.agrees(row) else "NO"
    else:
        agrees = "yes" if counted.agrees(row) else "NO"
    return [
        row.table,
        f"{row.dataset} ({row.num_classes})",
        row.label,
        row.params,
        counted.params,
        row.flops,
        counted.flops,
        agrees,
        *true_cost(row.model, row.num_classes),
        row.miou,
        _measured(scores.get((row.dataset, row.model, row.method), {})),
    ]


def _measured(by_protocol: dict[str, list[float]]) -> str:
    """Return the mean over runs; the protocol of the papers is preferred."""
    for protocol in ("paper", "standard"):
        if values := by_protocol.get(protocol):
            runs = f", {len(values)} runs" if len(values) > 1 else ""
            return f"{sum(values) / len(values):.2f} ({protocol}{runs})"
    return "-"


def notes() -> list[str]:
    """Explain the columns, and why some printed numbers cannot be reproduced."""
    unlike = dict.fromkeys(
        f"{row.dataset} {row.params} M" + (f" / {row.flops} G" if row.counted_flops else "")
        + f": {row.note}; counted here {row.counted_params} M"
        + (f" / {row.counted_flops} G" if row.counted_flops else "")
        for row in ROWS
        if row.note
    )  # fmt: skip
    return [
        "counted: the published formulation with its adapters, by the paper's own rule, for two "
        "images of 512 x 512 or one of 512 x 1024.",
        "true, deployed: multiply-adds of the student alone for one image of 512 x 1024, attention "
        "and interpolation included, by torch.utils.flop_counter: as published, as it runs here.",
        "mIoU in percent; here: mean over the files in results/, by protocol.",
        *(f"Not reproducible: {line}." for line in unlike),
    ]


def write_text(lines: list[list[str]]) -> None:
    """Print a table for the terminal."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in LEFT else "right")
    for previous, line in zip([None, *lines], lines, strict=False):
        if previous is not None and previous[:2] != line[:2]:
            table.add_section()
        style = {"NO": "bold red", "not reproducible": "yellow"}.get(line[7])
        table.add_row(*line, style=style)
    console.print(table)
    for note in notes():
        console.print(note, highlight=False)


def write_markdown(lines: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(markdown_table(COLUMNS, lines, LEFT))
    for note in notes():
        print(f"- {note}")


def write_csv(lines: list[list[str]]) -> None:
    """Print comma-separated values."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([COLUMNS, *lines])


WRITERS = {"text": write_text, "markdown": write_markdown, "csv": write_csv}


if __name__ == "__main__":
    run(main)
