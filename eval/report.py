"""Write one HTML page about one or several runs; it needs neither a network nor other files.

python eval/report.py runs/student-... runs/sekd-... runs/teacher-... --output report.html
"""

import argparse
import io
import math
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from command_line.arguments import positive_integer
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.outputs import check_target, replacing
from eval.flags.evaluation import add_evaluation_flags
from eval.reporting.charts import (
    Chart,
    Curve,
    class_chart,
    colour,
    confusion_chart,
    data_uri,
    loss_chart,
    miou_chart,
)
from eval.reporting.pictures import ERROR_COLOUR, VOID_COLOUR, colorize, error_map
from eval.reporting.run_records import RunRecord, read_record, training_command
from eval.reporting.score_rows import reference_student, seed_rows, table_rows
from eval.runs import ScoredRun, score_runs

TEMPLATES = Path(__file__).parent / "reporting" / "templates"
PICTURE_WIDTH = 640  # px, enough for a third of a wide screen


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    check_target(args.output, "--output")
    runs = score_runs(args, device)
    records = [read_record(scored.state, scored.subject.info["args"]) for scored in runs]
    page = render(runs, records, command=shlex.join(["python", "eval/report.py", *sys.argv[1:]]))
    with replacing(args.output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"report: {args.output}")


def render(runs: Sequence[ScoredRun], records: Sequence[RunRecord], command: str) -> str:
    """Return the page about runs that were scored on the same images."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["hex"] = lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb)
    dataset, results = runs[0].subject.dataset, [scored.result for scored in runs]
    scores = {scored.name: list(scored.result["per_class"].values()) for scored in runs}
    return environment.get_template("report.html").render(
        dataset=dataset,
        results=results,
        rows=table_rows(results),
        seeds=seed_rows(results),
        colours=[colour(index) for index in range(len(runs))],
        student=reference_student(results),
        best=max(range(len(runs)), key=lambda index: results[index]["miou"]),
        chosen_here=[
            scored.name
            for scored, record in zip(runs, records, strict=True)
            if was_chosen_here(scored, record)
        ],
        miou=draw_miou(runs, records),
        losses=draw_losses(runs, records),
        class_bars=class_chart(dataset.classes, scores),
        confusions=[confusion_chart(dataset.classes, s.metrics.matrix.numpy()) for s in runs],
        pictures=[show_image(runs, index) for index in sorted(runs[0].predictions)],
        error_colour=ERROR_COLOUR,
        void_colour=VOID_COLOUR,
        trained=[describe(scored, r) for scored, r in zip(runs, records, strict=True)],
        differing=differing_flags(records),
        versions=versions(runs),
        command=command,
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
    )


def was_chosen_here(scored: ScoredRun, record: RunRecord) -> bool:
    """Whether best.pth was chosen by its score on the very split that is scored."""
    dataset, flags = scored.subject.dataset, record.flags
    same_data = scored.subject.info["dataset"] == dataset.name
    split = flags.get("val_split") or dataset.default_val_split
    return same_data and split == dataset.split and flags.get("iouVal", True)


def draw_miou(runs: Sequence[ScoredRun], records: Sequence[RunRecord]) -> Chart | None:
    """Draw mIoU in training, None where no log tells it."""
    curves = [
        (index, Curve(scored.name, record.steps, record.log["miou"]))
        for index, (scored, record) in enumerate(zip(runs, records, strict=True))
        if not all(map(math.isnan, record.log.get("miou", [])))
    ]
    return miou_chart(curves) if curves else None


def draw_losses(
    runs: Sequence[ScoredRun], records: Sequence[RunRecord]
) -> list[tuple[str, Chart | None]]:
    """Draw each run's loss terms, all on one scale; None for a run without a log."""
    values = [
        value
        for record in records
        for term in record.terms.values()
        for value in term
        if math.isfinite(value)
    ]
    charts = []
    for scored, record in zip(runs, records, strict=True):
        curves = [Curve(name, record.steps, term) for name, term in record.terms.items()]
        drawn = loss_chart(curves, (min(values), max(values))) if curves and values else None
        charts.append((scored.name, drawn))
    return charts


def show_image(runs: Sequence[ScoredRun], index: int) -> dict[str, Any]:
    """Return one image of the split with its label, and each run's prediction and errors."""
    dataset = runs[0].subject.dataset
    sample = dataset[index]
    label = sample["label"].numpy()
    shown = {
        "name": sample["name"],
        "photo": picture(sample["image"].permute(1, 2, 0).numpy(), "JPEG"),
        "label": picture(colorize(label, dataset.palette), "PNG"),
        "runs": [],
    }
    for scored in runs:
        sample = scored.subject.dataset[index]  # prepared as for this run
        label, prediction = sample["label"].numpy(), scored.predictions[index]
        labelled = label != scored.subject.labels.ignored
        wrong = labelled & (label != prediction)
        size = label.shape[::-1]
        photo = Image.fromarray(sample["image"].permute(1, 2, 0).numpy()).resize(size)
        shown["runs"].append(
            {
                "name": scored.name,
                "prediction": picture(colorize(prediction, dataset.palette), "PNG"),
                "errors": picture(error_map(np.asarray(photo), wrong), "JPEG"),
                "wrong": f"{100 * wrong.sum() / max(1, labelled.sum()):.2f}",
            }
        )
    return shown


def picture(pixels: np.ndarray, kind: str) -> str:
    """Return a picture (H, W, 3) uint8 as a data URI, no wider than `PICTURE_WIDTH`."""
    image = Image.fromarray(pixels)
    if image.width > PICTURE_WIDTH:
        height = round(image.height * PICTURE_WIDTH / image.width)
        # Every pixel counts in the mean, so that a thin leaf or error does not vanish.
        image = image.resize((PICTURE_WIDTH, height), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=85, optimize=True)
    return data_uri(buffer.getvalue(), f"image/{kind.lower()}")


def describe(scored: ScoredRun, record: RunRecord) -> dict[str, Any]:
    """Return how a run was trained: facts by name, and the command."""
    info, flags, log = scored.subject.info, record.flags, record.log
    metrics = info["metrics"]
    facts = {"checkpoint": scored.state}
    if {"epoch", "step"} <= metrics.keys():  # published files know their epoch alone
        facts["checkpoint from"] = f"epoch {metrics['epoch']}, step {metrics['step']}"
    if log:
        facts["log ends at"] = f"step {log['step'][-1]:.0f}"
    speeds = [value for value in log.get("images_per_second", []) if math.isfinite(value)]
    if speeds:
        device = f" on {flags['device']}" if flags.get("device") else ""
        facts["median speed"] = f"{np.median(speeds):.1f} images per second{device}"
    if info["seed"] is not None:
        facts["seed"] = info["seed"]
    training = scored.result["params"]["training"]
    if training is not None:
        facts["trained with its adapters"] = f"{training / 1e6:.2f} M parameters"
    if flags.get("teacher"):
        facts["teacher"] = flags["teacher"]
    return {"name": scored.name, "facts": facts, "command": training_command(flags)}


def differing_flags(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the flags in which the runs differ, with a value a run."""
    names = dict.fromkeys(name for record in records for name in record.flags if name != "stage")
    table = {name: [_plain(record.flags.get(name)) for record in records] for name in names}
    return {name: values for name, values in table.items() if len(set(values)) > 1}


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "-" if value is None else str(value)


def versions(runs: Sequence[ScoredRun]) -> dict[str, list[str]]:
    """Return software by name: the version that scored the runs, and those that trained them."""
    scored_with = runs[0].result["versions"]
    trained_with = [scored.subject.info["versions"] or {} for scored in runs]
    names = dict.fromkeys(name for each in (scored_with, *trained_with) for name in each)
    return {name: [each.get(name, "-") for each in (scored_with, *trained_with)] for name in names}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = OneLineParser(description="Write one HTML page about one or several runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder or checkpoint")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/report.html"),
        help="page to write (default: runs/report.html)",
    )
    parser.add_argument("--images", type=positive_integer, default=4, help="images on the page")
    add_evaluation_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
