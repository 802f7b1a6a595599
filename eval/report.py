"""Write an HTML report about one or several runs; the page is self-contained and works offline.

python eval/report.py runs/student-... runs/sekd-... runs/teacher-... --output report.html
"""

import argparse
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from command_line.arguments import positive_integer
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.outputs import check_target, replacing
from datasets.palettes import void_colour
from eval.deployment.timing import interleaved_seconds
from eval.flags.evaluation import FIRST, add_evaluation_flags
from eval.report_images import choose_images, show_image
from eval.reporting.charts import (
    Chart,
    Curve,
    class_chart,
    colour,
    confusion_chart,
    loss_charts,
    miou_chart,
)
from eval.reporting.pictures import ERROR_COLOUR
from eval.reporting.run_records import RunRecord, read_record, training_command
from eval.reporting.score_rows import (
    ious_of,
    reference_student,
    seed_rows,
    table_rows,
    transposed,
)
from eval.runs import ScoredRun, predict_also, score_runs
from models.encoder import MIN_SIZE

TEMPLATES = Path(__file__).parent / "reporting" / "templates"
TIMING_SECONDS = 10  # approximate duration of timing, unless FEWEST_CALLS take longer
FEWEST_CALLS, MOST_CALLS = 5, 50  # per run


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    check_target(args.output, "--output")
    runs = score_runs(args, device)
    records = [read_record(scored.state, scored.subject.info["args"]) for scored in runs]
    chosen = choose_images(runs)
    predict_also(runs, list(chosen), device, args)
    milliseconds = measure_latencies(runs, device)
    page = render(
        runs,
        records,
        chosen,
        milliseconds,
        device,
        command=shlex.join(["python", "eval/report.py", *sys.argv[1:]]),
    )
    with replacing(args.output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"report: {args.output}")


def render(
    runs: Sequence[ScoredRun],
    records: Sequence[RunRecord],
    chosen: Mapping[int, str],
    milliseconds: Sequence[str],
    device: torch.device,
    command: str,
) -> str:
    """Return the page about runs that were scored on the same images.

    Args:
        runs: including the predictions of the images to show.
        records: of the same runs.
        chosen: captions of the images to show, by index.
        milliseconds: latency of each run.
        device: on which the latency was measured.
        command: command line that wrote the page.
    """
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
        scores=score_table(runs, milliseconds),
        seeds=transposed(seeds) if (seeds := seed_rows(results)) else [],
        counts=dict(zip(dataset.classes, class_counts(runs[0]), strict=True)),
        device=device.type,
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
        confusions=[confusion_chart(dataset.classes, class_matrix(s).numpy()) for s in runs],
        pictures=[show_image(runs, index, why) for index, why in chosen.items()],
        error_colour=ERROR_COLOUR,
        void_colour=void_colour(dataset.palette),
        trained=[training_facts(scored, r) for scored, r in zip(runs, records, strict=True)],
        differing=differing_flags(records),
        versions=versions(runs),
        command=command,
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
    )


def score_table(runs: Sequence[ScoredRun], milliseconds: Sequence[str]) -> list[list[str]]:
    """Return the table of scores, with a column per run: cost, then scores, then classes."""
    results = [scored.result for scored in runs]
    lines = transposed(table_rows(results))
    lines.insert(3, ["ms per image", *milliseconds])
    lines.insert(3, ["image size", *("{} × {}".format(*r["flops"]["size"]) for r in results)])
    accuracies = (f"{100 * result['pixel_accuracy']:.2f}" for result in results)
    lines.insert(len(lines) - len(ious_of(results[0])), ["pixel accuracy", *accuracies])
    return lines


def was_chosen_here(scored: ScoredRun, record: RunRecord) -> bool:
    """Whether best.pth was selected by its score on the same split that is scored here."""
    dataset, flags = scored.subject.dataset, record.flags
    same_data = scored.subject.info["dataset"] == dataset.name
    split = flags.get("val_split") or dataset.default_val_split
    return same_data and split == dataset.split and flags.get("iouVal", True)


def draw_miou(runs: Sequence[ScoredRun], records: Sequence[RunRecord]) -> Chart | None:
    """Draw mIoU over training; None if no log contains it."""
    curves = [
        (index, Curve(scored.name, record.steps, record.log["miou"]))
        for index, (scored, record) in enumerate(zip(runs, records, strict=True))
        if not all(map(math.isnan, record.log.get("miou", [])))
    ]
    return miou_chart(curves) if curves else None


def draw_losses(
    runs: Sequence[ScoredRun], records: Sequence[RunRecord]
) -> list[tuple[str, list[Chart]]]:
    """Draw each run's loss terms; empty for a run without a log."""
    return [
        (scored.name, loss_charts([Curve(*term) for term in record.curves]))
        for scored, record in zip(runs, records, strict=True)
    ]


def class_matrix(scored: ScoredRun) -> torch.Tensor:
    """Return the confusion matrix (K, K) of the classes, without a void output."""
    count = scored.subject.dataset.num_classes
    return scored.metrics.matrix[:count, :count]


def class_counts(scored: ScoredRun) -> list[dict[str, str]]:
    """Return per class its share of the labelled pixels, and the number of images with it."""
    pixels = class_matrix(scored).sum(1)
    containing = (torch.stack(scored.images.matrices).sum(2) > 0).sum(0)[: len(pixels)]
    return [
        {"pixels": f"{100 * share:.2f}", "images": str(count)}
        for share, count in zip((pixels / pixels.sum()).tolist(), containing.tolist(), strict=True)
    ]


@torch.inference_mode()
def measure_latencies(runs: Sequence[ScoredRun], device: torch.device) -> list[str]:
    """Measure each network's latency in ms: the median for one image of its input size.

    The runs are timed in turns, so that other load on the machine affects all of them alike.
    """
    calls = {}
    for place, scored in enumerate(runs):
        height, width = scored.result["flops"]["size"]
        image = torch.randn(1, 3, max(height, MIN_SIZE), max(width, MIN_SIZE), device=device)
        calls[str(place)] = partial(scored.subject.model.eval(), image)
    once = sum(seconds[0] for seconds in interleaved_seconds(calls, 1).values())
    rounds = min(max(FEWEST_CALLS, int(TIMING_SECONDS / once)), MOST_CALLS)
    times = interleaved_seconds(calls, rounds, warmup=0)
    return [f"{1000 * median(seconds):.1f}" for seconds in times.values()]


def training_facts(scored: ScoredRun, record: RunRecord) -> dict[str, Any]:
    """Return how a run was trained: facts by name, and the command."""
    info, flags, log = scored.subject.info, record.flags, record.log
    metrics = info["metrics"]
    facts = {"checkpoint": scored.state}
    if {"epoch", "step"} <= metrics.keys():  # published files have an epoch only
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
    """Return the flags that differ between runs, with a value per run."""
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
    """Build the argument parser."""
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
    parser.show_first("--output", "--images", *FIRST)
    return parser


if __name__ == "__main__":
    run(main)
