"""Output of the benchmark: bars on the terminal, all figures in Markdown, growth as a plot."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter, StrMethodFormatter
from rich.console import Console
from rich.table import Table

from benchmarks.bars import Bar, Record, ratio_of
from command_line.outputs import replacing
from eval.reporting.markdown import markdown_table

TITLES = {
    "inference": "Forward pass",
    "training": "Training step with a full-size loss",
    "distillation": "Distillation step, by method",
    "texture": "Texture term, forward and backward",
    "metric": "Update of the confusion matrix",
    "loading": "Reading and augmenting images",
    "runtimes": "Runtimes of an exported network",
    "growth": "Growth with pixels and with the batch",
}
MEBIBYTE = 2**20


def print_bars(bars: Sequence[Bar], records: Sequence[Record], console: Console) -> None:
    """Print every bar with its measured value, green if it is met."""
    table = Table()
    for column in ("measure", "bar", "measured"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for bar in bars:
        value = bar.measured(records)
        style = "green" if bar.holds(value) else "bold red"
        table.add_row(bar.title, bar.limit, f"[{style}]{_measured(bar, value)}")
    console.print(table)


def write_markdown(
    target: Path,
    bars: Sequence[Bar],
    records: Sequence[Record],
    machine: Mapping[str, str],
    picture: Path | None,
) -> None:
    """Write the bars and a table of every part."""
    rows = []
    for bar in bars:
        value = bar.measured(records)
        kept = "yes" if bar.holds(value) else "no"
        rows.append([bar.title, bar.limit, _measured(bar, value), kept])
    text = markdown_table(["measure", "bar", "measured", "kept"], rows)
    text += f"\nMachine: {', '.join(f'{name} {value}' for name, value in machine.items())}.\n"
    text += "Times are medians, spreads interquartile ranges, "
    text += "ratios medians of the ratios per round.\n"
    if picture:
        text += f"\n![Cost by pixels and by batch]({picture.name})\n"
    for part, members in groupby(records, key=lambda record: record["part"]):
        text += f"\n## {TITLES[part]}\n\n{_part_table(list(members))}"
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _part_table(records: Sequence[Record]) -> str:
    """A row per contender and case, with its time relative to the first contender's."""
    merged: dict[tuple[str, str], Record] = {}
    for record in records:
        merged.setdefault((record["case"], record["contender"]), {}).update(record)
    first = {case: next(r for (c, _), r in merged.items() if c == case) for case, _ in merged}
    columns = {
        "ms": lambda r: _milliseconds(r["seconds"]) if "seconds" in r else "",
        "spread": lambda r: _milliseconds(r["spread"]) if "spread" in r else "",
        "of the first": lambda r: _share(r, first[r["case"]]),
        "images/s": lambda r: f"{r['images_per_second']:.1f}" if "images_per_second" in r else "",
        "peak MiB": lambda r: f"{r['peak_bytes'] / MEBIBYTE:.0f}" if "peak_bytes" in r else "",
    }
    cells = {name: [cell(record) for record in merged.values()] for name, cell in columns.items()}
    shown = [name for name, column in cells.items() if any(column)]
    rows = [
        [*key, *(cells[name][index] for name in shown)] for index, key in enumerate(merged.keys())
    ]
    return markdown_table(["case", "contender", *shown], rows, left=["case", "contender"])


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.{0 if seconds >= 0.1 else 1}f}"


def _share(record: Record, first: Record) -> str:
    if "seconds" not in record or "seconds" not in first:
        return ""
    return f"{ratio_of(record, first, 'seconds'):.2f}"


def _measured(bar: Bar, value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.2f} {'times' if bar.against else 'GB'}"


def draw_growth(records: Sequence[Record], target: Path) -> bool:
    """Draw seconds per image by side and by batch; return whether there was anything to draw."""
    grown = [record for record in records if record["part"] == "growth"]
    if not grown:
        return False
    forward = [record for record in grown if "model" in record]
    steps = [record for record in grown if "model" not in record]
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    for row, title, members in zip(
        panels, ("forward pass", "distillation step"), (forward, steps), strict=True
    ):
        for axes, quantity, unit in zip(
            row, ("size", "batch"), ("side of the image, px", "images in a batch"), strict=True
        ):
            _draw_panel(axes, members, quantity)
            axes.set(title=f"{title}, by {quantity}", xlabel=unit, ylabel="seconds per image")
    figure.savefig(target, dpi=110)
    return True


def _draw_panel(axes: Axes, records: Iterable[Record], quantity: str) -> None:
    """Draw a line per contender over the varied quantity, side or batch size."""
    fixed = "batch" if quantity == "size" else "size"
    series: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for record in records:
        point = record[quantity], record["seconds"] / record["batch"]
        series.setdefault((record["contender"], record[fixed]), []).append(point)
    most = max((len(points) for points in series.values()), default=0)
    for (name, _), points in series.items():
        if len(points) == most:  # the others do not vary this quantity
            axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({point[0] for points in series.values() for point in points})
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend()
