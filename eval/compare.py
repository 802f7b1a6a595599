"""Evaluate several runs on one split: a table of scores and cost, and a picture of predictions.

python eval/compare.py runs/teacher-... runs/student-... runs/sekd-... --subset test
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import numpy as np
from PIL import Image
from rich.console import Console

from command_line.arguments import positive_integer
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.outputs import check_target, replacing
from eval.flags.evaluation import FIRST, add_evaluation_flags
from eval.reporting.markdown import markdown_table
from eval.reporting.pictures import (
    add_legend,
    colorize,
    legend_entries,
    stack_rows,
    titled_row,
)
from eval.reporting.score_rows import print_tables, seed_rows, table_rows, transposed
from eval.results import write_json
from eval.runs import ScoredRun, score_runs

NAMES = ("comparison.md", "comparison.json", "comparison.png")


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    table, record, picture = (args.output / name for name in NAMES)
    for path in (table, record, picture):
        check_target(path, "--output")
    runs = score_runs(args, device)
    results = [scored.result for scored in runs]
    tables = [rows for rows in (table_rows(results), seed_rows(results)) if rows]
    for rows in tables:
        print_tables(rows, Console())
    with replacing(table) as temporary:
        temporary.write_text("\n".join(map(as_markdown, tables)), encoding="utf-8")
    write_json(record, {"results": results})
    with replacing(picture) as temporary:
        Image.fromarray(draw(runs)).save(temporary, format="PNG")
    print(f"table: {table}\npicture: {picture}")


def as_markdown(rows: list[dict[str, str]]) -> str:
    """Return records as a table in Markdown, with a column per run."""
    header, *lines = transposed(rows)
    return markdown_table(header, lines)


def draw(runs: list[ScoredRun]) -> np.ndarray:
    """Draw image, label and each run's prediction for images spread over the split, with a legend.

    Returns:
        (H, W, 3) uint8.
    """
    dataset = runs[0].subject.dataset
    rows = []
    for index in sorted(runs[0].predictions):
        sample = dataset[index]
        pictures = {
            "image": sample["image"].permute(1, 2, 0).numpy(),
            "label": colorize(sample["label"].numpy(), dataset.palette),
        }
        for scored in runs:
            pictures[scored.name] = colorize(scored.predictions[index], dataset.palette)
        rows.append(titled_row(pictures))
    return add_legend(stack_rows(rows), legend_entries(dataset.classes, dataset.palette))


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = OneLineParser(description="Evaluate several runs on one split, side by side.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder or checkpoint")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/comparison"),
        help=f"folder for {', '.join(NAMES)} (default: runs/comparison)",
    )
    parser.add_argument("--images", type=positive_integer, default=3, help="images in the picture")
    add_evaluation_flags(parser)
    parser.show_first("--output", "--images", *FIRST)
    return parser


if __name__ == "__main__":
    run(main)
