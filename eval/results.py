"""The result of an evaluation: as a dictionary, a table on the terminal, and a JSON file."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from command_line.outputs import replacing
from eval.complexity import count_parameters, multiply_adds
from eval.exported.network import RuntimeNetwork
from eval.plants import describe_plants
from eval.subject import Subject
from models.encoder import MIN_SIZE
from models.formats import parameters_in
from models.saving import software_versions

GOOD, FAIR = 0.75, 0.5  # least IoU printed in green, in yellow
MAX_COLUMNS = 8  # most columns of classes that fit a terminal


def summarize(subject: Subject, scores: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the full result of an evaluation, as plain types.

    Args:
        subject: what was evaluated.
        scores: from `SegmentationMetrics.compute`.
        more: further entries, such as `conditions` and `official`; empty ones are omitted.
    """
    dataset, info = subject.dataset, subject.info
    return {
        **named_scores(scores, dataset.classes),
        **{key: value for key, value in more.items() if value},
        **cost(subject),
        "protocol": subject.preprocessing.protocol,
        "image_size": subject.preprocessing.plain()["image_size"],
        "dataset": dataset.name,
        "subset": dataset.split,
        "images": len(dataset),
        "model": info["architecture"],
        "method": None if info["method"] == "none" else info["method"],
        "seed": info["seed"],
        "versions": software_versions(),
    }


def named_scores(scores: dict[str, Any], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the scores with `per_class` keyed by class name."""
    return {**scores, "per_class": dict(zip(classes, scores["per_class"], strict=True))}


def cost(subject: Subject) -> dict[str, Any]:
    """Return `params` and `flops`: deployed, and in training with the distillation adapters.

    FLOPs are multiply-adds for one image at the network's input size. Those in training are known
    only if the checkpoint recorded them, for the recorded size. For an exported file, FLOPs are not
    counted, and `runtime` names the runtime.
    """
    height, width = subject.dataset[0]["image"].shape[-2:]
    if isinstance(subject.model, RuntimeNetwork):
        return {
            "runtime": subject.model.runtime,
            "params": {"deployed": subject.info["parameters"], "training": None},
            "flops": {"deployed": None, "size": [height, width], "training": None},
        }
    deployed = count_parameters(subject.model)
    recorded = subject.info.get("training_cost") or {}
    adapters = subject.info["adapters"]
    counted = deployed + parameters_in(adapters) if adapters else None
    training = recorded.get("params") or counted
    flops: dict[str, Any] = {
        # Smaller images are padded to the network's minimum size.
        "deployed": multiply_adds(subject.model, max(height, MIN_SIZE), max(width, MIN_SIZE)),
        "size": [height, width],
        "training": recorded.get("flops"),
    }
    if recorded:
        flops["training_size"] = [recorded["height"], recorded["width"]]
    return {"params": {"deployed": deployed, "training": training}, "flops": flops}


def print_result(result: dict[str, Any], palette: tuple, console: Console) -> None:
    """Print per-class scores with the class colours, then the means and the cost."""
    conditions = result.get("conditions", {})
    table = Table(title=f"{result['model']} on {result['dataset']} ({result['subset']})")
    table.add_column("class")
    columns = {"IoU %": result, **conditions}
    if "boundary" in result:
        columns["boundary"] = result["boundary"]
    for column in columns:
        table.add_column(column, justify="right")
    for colour, name in zip(palette, result["per_class"], strict=True):
        block = Text("█ ", style=f"rgb({','.join(map(str, colour))})")
        scores = [column["per_class"][name] for column in columns.values()]
        table.add_row(block + Text(name), *map(_percent, scores))
    table.add_section()
    for name, iou in result.get("merged", {}).items():
        table.add_row(Text(f"{name} (merged)"), _percent(iou))
    table.add_section()
    means = {"mIoU": "miou", "pixel accuracy": "pixel_accuracy",
             "mean accuracy": "mean_accuracy", "frequency-weighted IoU": "fwiou"}  # fmt: skip
    for label, key in means.items():
        cells = [_percent(c[key]) if key in c else Text() for c in columns.values()]
        table.add_row(Text(label, "bold"), *cells)
    console.print(Group(table, *_folders(result), *_footer(result)))


def _folders(result: dict[str, Any]) -> list[Table]:
    """Return the table of `--per-folder`, one row per folder; empty without the flag."""
    if not (folders := result.get("folders")):
        return []
    classes = list(result["per_class"])
    shown = classes if len(classes) <= MAX_COLUMNS else []  # all of them are in the JSON
    table = Table()
    table.add_column("folder", overflow="fold")
    for column in ("mIoU", *shown):
        table.add_column(column, justify="right")
    for name, scores in folders.items():
        ious = (scores["miou"], *(scores["per_class"][column] for column in shown))
        table.add_row(name, *map(_percent, ious))
    return [table]


def _footer(result: dict[str, Any]) -> list[Text]:
    lines = [Text(f"{result['images']} images, protocol {result['protocol']}")]
    if result.get("inference", "whole") != "whole":
        lines.append(Text(f"inference: {result['inference']}"))
    if official := result.get("official"):
        lines.append(Text(f"official metric: mIoU {100 * official['miou']:.2f} %"))
    if plants := result.get("plants"):
        lines += map(Text, describe_plants(plants))
    params, flops = result["params"], result["flops"]
    size = "{} x {}".format(*flops["size"])
    line = f"deployed: {params['deployed'] / 1e6:.2f} M parameters, "
    if "runtime" in result:
        line += f"in {result['runtime']}"
    else:
        line += f"{flops['deployed'] / 1e9:.2f} G multiply-adds at {size}"
    lines.append(Text(line))
    if params["training"] is not None:
        line = f"with training adapters: {params['training'] / 1e6:.2f} M parameters"
        if flops["training"] is not None:
            size = "{} x {}".format(*flops["training_size"])
            line += f", {flops['training'] / 1e9:.2f} G multiply-adds at {size}"
        lines.append(Text(line))
    return lines


def _percent(fraction: float | None) -> Text:
    if fraction is None:
        return Text("absent", "dim")
    style = "green" if fraction >= GOOD else "yellow" if fraction >= FAIR else "red"
    return Text(f"{100 * fraction:.2f}", style)


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write the result atomically."""
    text = json.dumps(result, indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
