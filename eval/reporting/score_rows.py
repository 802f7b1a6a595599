"""Tables of runs: records per run, records per kind over its seeds, and their layout."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROWEST = 12  # least column width in characters, so that names of runs stay legible
PLANT_ROWS = {
    "weeds hit %": "weeds_hit", "crops hurt %": "crops_hurt", "area treated %": "treated_area",
}  # fmt: skip
Result = dict[str, Any]  # from `eval.runs.score_runs`


def reference_student(results: Sequence[Result]) -> Result | None:
    """Return the first run of a student trained alone, or None."""
    return next((result for result in results if result["kind"].startswith("student")), None)


def table_rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """Make one record per run: cost per image, mIoU and the IoU per class and merged class, in %.

    "vs student" is the difference, in points, to `reference_student`; the entry is omitted if
    there is none.
    """
    student = reference_student(results)
    rows = []
    for result in results:
        row = {
            "run": result["name"],
            "M params": f"{result['params']['deployed'] / 1e6:.2f}",
            "G MACs": _giga(result["flops"]["deployed"]),
            "mIoU": f"{100 * result['miou']:.2f}",
        }
        if student is not None:
            row["vs student"] = f"{100 * (result['miou'] - student['miou']):+.2f}"
        for name, key in PLANT_ROWS.items():
            if plants := result.get("plants"):
                row[name] = "-" if plants[key] is None else f"{100 * plants[key]:.1f}"
        for name, iou in ious_of(result).items():
            row[name] = "absent" if iou is None else f"{100 * iou:.2f}"
        rows.append(row)
    return rows


def ious_of(result: Result) -> dict[str, float | None]:
    """The IoU of each class, and of the classes merged by `--merge`."""
    merged = {f"{name} (merged)": iou for name, iou in result.get("merged", {}).items()}
    return result["per_class"] | merged


def _giga(count: float | None) -> str:
    """Format in billions; "-" for exported files, whose FLOPs are not counted."""
    return "-" if count is None else f"{count / 1e9:.2f}"


def seed_rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """Make one record per kind of run: mean and standard deviation over its runs, such as seeds.

    "vs student" is the difference of the means. Empty if every kind has only one run.
    """
    kinds: dict[str, list[Result]] = {}
    for result in results:
        kinds.setdefault(result["kind"], []).append(result)
    if len(kinds) == len(results):
        return []
    student = reference_student(results)
    rows = []
    for kind, members in kinds.items():
        mious = [member["miou"] for member in members]
        row = {"run": kind, "runs": str(len(members)), "mIoU": _spread(mious)}
        if student is not None:
            alone = fmean(member["miou"] for member in kinds[student["kind"]])
            row["vs student"] = f"{100 * (fmean(mious) - alone):+.2f}"
        for name in ious_of(members[0]):
            ious = [iou for member in members if (iou := ious_of(member)[name]) is not None]
            row[name] = _spread(ious) if len(ious) == len(members) else "absent"
        rows.append(row)
    return rows


def transposed(rows: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Transpose records to a column per run: a header, then one line per measure or class."""
    header, *names = rows[0]
    lines = [[header, *(row[header] for row in rows)]]
    return lines + [[name, *(row[name] for row in rows)] for name in names]


def print_tables(rows: Sequence[Mapping[str, str]], console: Console) -> None:
    """Print records with a column per run, split into several tables to fit the terminal.

    Numbers are never truncated: names of runs are wrapped to the width of the numbers below them.
    """
    header, *lines = transposed(rows)
    first = max(len(line[0]) for line in (header, *lines))
    figures = max(NARROWEST, *(len(cell) for line in lines for cell in line[1:]))
    beside = max(1, (console.width - first - 4) // (figures + 3))
    for start in range(1, len(header), beside):
        columns = slice(start, start + beside)
        names = header[columns]
        room = (console.width - first - 4) // len(names) - 3
        table = Table()
        table.add_column(header[0], no_wrap=True)
        for name in names:
            width = max(figures, min(len(name), room))
            table.add_column(
                name, justify="right", overflow="fold", min_width=figures, max_width=width
            )
        for line in lines:
            table.add_row(line[0], *(Text(cell, no_wrap=True) for cell in line[columns]))
        console.print(table)


def _spread(fractions: Sequence[float]) -> str:
    """Format mean and sample standard deviation in %; a single value without the latter."""
    mean = f"{100 * fmean(fractions):.2f}"
    return mean if len(fractions) == 1 else f"{mean} ± {100 * stdev(fractions):.2f}"
