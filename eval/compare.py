"""Evaluate several runs on one split: a table of scores and costs, and a picture of predictions.

python eval/compare.py runs/teacher-... runs/student-... runs/sekd-... --subset test
"""

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from eval.arguments import positive_integer
from eval.cli import OneLineParser, run
from eval.device import choose_device
from eval.eval import add_evaluation_flags, score
from eval.inference import predict_labels
from eval.markdown import markdown_table
from eval.pictures import colorize, stack_rows, titled_row
from eval.results import summarize, write_json
from eval.subject import Subject, load_subject
from models.files import replacing

NAMES = ("comparison.md", "comparison.json", "comparison.png")


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    args.output.mkdir(parents=True, exist_ok=True)
    subjects, results = {}, []
    for state in args.runs:
        args.state = state
        subject = load_subject(args, device)
        check_same_images(state, subject, next(iter(subjects.values()), subject))
        metrics, conditions = score(subject, device, args, observer=None)
        name = label_of(subject)
        name = f"{name} ({state})" if name in subjects else name  # such as another seed
        result = summarize(subject, metrics.compute(), conditions=conditions, checkpoint=state)
        results.append({"name": name, **result})
        subjects[name] = subject
    rows = table_rows(results)
    print_table(rows, Console())
    table, record, picture = (args.output / name for name in NAMES)
    with replacing(table) as temporary:
        cells = [list(row.values()) for row in rows]
        temporary.write_text(markdown_table(list(rows[0]), cells), encoding="utf-8")
    write_json(record, {"results": results})
    Image.fromarray(draw(subjects, args.images, device)).save(picture)
    print(f"table: {table}\npicture: {picture}")


def check_same_images(state: str, subject: Subject, first: Subject) -> None:
    """Refuse a run whose data are not those of the first: their scores would not compare.

    Raises:
        ValueError: the runs were trained on different data and no flag names a common set.
    """
    one, other = first.dataset, subject.dataset
    if (one.name, one.pairs) != (other.name, other.pairs):
        raise ValueError(
            f"{state} would be scored on other images ({other.name}, {other.split}) than the first "
            f"run ({one.name}, {one.split}): give --dataset, --datadir and --subset for all"
        )


def label_of(subject: Subject) -> str:
    """Name a run by what it is: 'teacher SegformerB1', 'SEKD-CT SegformerB0'."""
    info = subject.info
    if info["method"] not in (None, "none"):
        kind = info["method"].upper()
    else:
        kind = info["args"].get("stage", "network")
        kind = "student" if kind == "sekd" else kind  # of --method none: trained alone
    return f"{kind} {info['architecture']}"


def table_rows(results: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Make one row a run: cost (multiply-accumulates of one image), mIoU and each class's IoU in %.

    "vs student" is the difference, in points, to the first run that neither is a teacher nor was
    distilled; without one, the column is left out.
    """
    students = [result for result in results if result["name"].startswith("student")]
    rows = []
    for result in results:
        row = {
            "run": result["name"],
            "M params": f"{result['params']['deployed'] / 1e6:.2f}",
            "G MACs": f"{result['flops']['deployed'] / 1e9:.2f}",
            "mIoU": f"{100 * result['miou']:.2f}",
        }
        if students:
            row["vs student"] = f"{100 * (result['miou'] - students[0]['miou']):+.2f}"
        for name, iou in result["per_class"].items():
            row[name] = "absent" if iou is None else f"{100 * iou:.2f}"
        rows.append(row)
    return rows


def print_table(rows: list[dict[str, str]], console: Console) -> None:
    """Print the rows on the terminal."""
    table = Table()
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "run" else "right")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)


@torch.inference_mode()
def draw(subjects: dict[str, Subject], count: int, device: torch.device) -> np.ndarray:
    """Draw image, label and every run's prediction for images spread over the split.

    Returns:
        (H, W, 3) uint8.
    """
    first = next(iter(subjects.values())).dataset
    rows = []
    for index in np.linspace(0, len(first) - 1, min(count, len(first)), dtype=int).tolist():
        label = first[index]["label"]
        pictures = {
            "image": first[index]["image"].permute(1, 2, 0).numpy(),
            "label": colorize(label.numpy(), first.palette),
        }
        for name, subject in subjects.items():
            image = subject.dataset[index]["image"][None].to(device)
            prediction = predict_labels(subject.model, image, subject.preprocessing, label.shape)
            pictures[name] = colorize(prediction[0].cpu().numpy(), first.palette)
        rows.append(titled_row(pictures))
    return stack_rows(rows)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
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
    return parser


if __name__ == "__main__":
    run(main)
