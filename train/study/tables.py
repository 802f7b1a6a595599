"""A study's outcomes as text: Markdown tables, and JSON with all their values."""

import math
from collections.abc import Sequence
from typing import Any

from eval.reporting.markdown import markdown_table
from train.study.comparison import Outcome
from train.study.study import Study


def document(study: Study, found: Sequence[Outcome], command: str) -> str:
    """Return the study as a Markdown section: the command, a table, and the scores per seed."""
    title = f"## {study.path.stem}\n\n```\n{command}\n```\n\n"
    return title + table(study, found) + "\n" + by_seed(found)


def table(study: Study, found: Sequence[Outcome]) -> str:
    """Return the Markdown table of runs."""
    classes = list(found[0].per_class) if found else []
    columns = ["run", "seeds", "steps", "hours", "mIoU"]
    compared = study.baseline is not None or bool(study.baselines)
    if compared:
        columns += ["to" if study.baselines else f"to {study.baseline}", "95 % interval"]
    taught = any(one.teacher_hours for one in found)  # nan counts too
    columns[4:4] = ["teacher hours"] if taught else []
    timed = any(one.at_equal_hours is not None for one in found)
    columns += ["at equal hours"] if timed else []
    rows = []
    for one in found:
        spread = "" if one.spread is None else f" ± {one.spread:.2f}"
        cells = [one.run, str(len(one.seeds)), str(one.steps or "-"), _hours(one.hours)]
        if taught:
            cells.append(_hours(one.teacher_hours) if one.teacher_hours else "-")
        cells.append(f"{one.mean:.2f}{spread}")
        if compared:
            to = f"{study.baseline_of(one.run)}: " if study.baselines else ""
            cells += [
                "-" if one.difference is None else f"{to}{one.difference:+.2f}",
                "-" if one.interval is None else "{:+.2f} to {:+.2f}".format(*one.interval),
            ]
        if timed:
            cells.append(_gain(one.at_equal_hours, one.at_equal_hours_interval))
        values = one.per_class.values()
        rows.append([*cells, *("-" if value is None else f"{value:.2f}" for value in values)])
    return markdown_table([*columns, *classes], rows)


def _hours(hours: float) -> str:
    return "unknown" if math.isnan(hours) else f"{hours:.2f}"


def _gain(gain: float | None, interval: tuple[float, float] | None) -> str:
    if gain is None:
        return "-"
    return f"{gain:+.2f}" + (" ({:+.2f} to {:+.2f})".format(*interval) if interval else "")


def by_seed(found: Sequence[Outcome]) -> str:
    """Return the Markdown table of mIoU, a row per run and a column per seed."""
    seeds = sorted({seed for one in found for seed in one.seeds})
    rows = []
    for one in found:
        known = dict(zip(one.seeds, one.scores, strict=True))
        rows.append([one.run, *(f"{known[s]:.2f}" if s in known else "-" for s in seeds)])
    return markdown_table(["mIoU", *(f"seed {seed}" for seed in seeds)], rows)


def as_json(study: Study, found: Sequence[Outcome], versions: dict[str, Any]) -> dict[str, Any]:
    """Return all values of the tables, and each run's command line with its first seed."""
    words = {(job.run, job.seed): list(job.words) for job in study.jobs}
    runs = [
        {**vars(one), "mean": one.mean, "spread": one.spread, "flags": words[one.run, one.seeds[0]]}
        for one in found
    ]
    for run in runs:
        for hours in ("hours", "teacher_hours"):
            if math.isnan(run[hours]):  # JSON has no nan
                run[hours] = None
    return {
        "recipe": study.path.name,
        "baseline": study.baseline,
        "baselines": dict(study.baselines),
        "versions": versions,
        "runs": runs,
    }
