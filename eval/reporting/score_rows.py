"""Tables of runs: one row a run, and one row for all seeds of a kind of run."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

Result = dict[str, Any]  # of `eval.runs.score_runs`


def reference_student(results: Sequence[Result]) -> Result | None:
    """Return the first run that neither is a teacher nor was distilled, None without one."""
    return next((result for result in results if result["kind"].startswith("student")), None)


def table_rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """Make one row a run: cost (multiply-accumulates of one image), mIoU and each class's IoU in %.

    "vs student" is the difference, in points, to `reference_student`; without one, the column is
    left out.
    """
    student = reference_student(results)
    rows = []
    for result in results:
        row = {
            "run": result["name"],
            "M params": f"{result['params']['deployed'] / 1e6:.2f}",
            "G MACs": f"{result['flops']['deployed'] / 1e9:.2f}",
            "mIoU": f"{100 * result['miou']:.2f}",
        }
        if student is not None:
            row["vs student"] = f"{100 * (result['miou'] - student['miou']):+.2f}"
        for name, iou in result["per_class"].items():
            row[name] = "absent" if iou is None else f"{100 * iou:.2f}"
        rows.append(row)
    return rows


def seed_rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """Make one row a kind of run: mean and standard deviation over its runs, such as seeds.

    "vs student" is the difference of the means. No rows where no kind comes twice.
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
        for name in members[0]["per_class"]:
            ious = [member["per_class"][name] for member in members]
            row[name] = "absent" if None in ious else _spread(ious)
        rows.append(row)
    return rows


def _spread(fractions: Sequence[float]) -> str:
    """Mean and standard deviation of a sample, in %; of one value, the value."""
    mean = f"{100 * fmean(fractions):.2f}"
    return mean if len(fractions) == 1 else f"{mean} ± {100 * stdev(fractions):.2f}"
