"""What a study's runs scored: means over seeds, differences to a baseline, their intervals."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from eval.per_image import mean_iou, read_counts
from eval.reporting.markdown import markdown_table
from train.study.jobs import COUNTS, SCORES, is_done, seconds_per_step
from train.study.recipe import Job, Study

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend comes first: servers have no display)
from matplotlib.axes import Axes  # noqa: E402

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Outcome:
    """What one run scored with all seeds that have ended.

    Attributes:
        run: its name.
        seeds: those that have ended.
        scores: mIoU of each seed, in percent.
        per_class: IoU of each class in percent, mean over seeds; None where a class is absent.
        steps: optimizer steps.
        hours: of training on this machine, without validation; nan where there is no log.
        difference: mean difference to the baseline over the seeds that both have; None for the
            baseline itself, and without a common seed.
        interval: its 95 % confidence interval over seeds and images.
    """

    run: str
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    per_class: dict[str, float | None]
    steps: int | None
    hours: float
    difference: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        """MIoU in percent, mean over seeds."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds, None for a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def outcomes(study: Study) -> list[Outcome]:
    """Outcomes of all runs that have a scored seed, in the recipe's order."""
    ended = {run: [job for job in jobs if is_done(job)] for run, jobs in study.runs.items()}
    return [
        _outcome(run, jobs, {job.seed: job for job in ended.get(study.baseline_of(run) or "", [])})
        for run, jobs in ended.items()
        if jobs
    ]


def _outcome(run: str, jobs: Sequence[Job], baseline: dict[int, Job]) -> Outcome:
    results = [json.loads((job.results / SCORES).read_text()) for job in jobs]
    classes = {
        name: _mean([result["per_class"][name] for result in results])
        for name in results[0]["per_class"]
    }
    pairs = [(job, baseline[job.seed]) for job in jobs if job.seed in baseline]
    difference, interval = paired_difference(pairs) if pairs else (None, None)
    paces = [pace for job in jobs if (pace := seconds_per_step(job))]
    steps = jobs[0].steps
    hours = statistics.median(paces) * (steps or 0) / 3600 if paces else float("nan")
    return Outcome(
        run=run,
        seeds=tuple(job.seed for job in jobs),
        scores=tuple(100 * result["miou"] for result in results),
        per_class=classes,
        steps=steps,
        hours=hours,
        difference=difference,
        interval=interval,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [100 * value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def paired_difference(
    pairs: Sequence[tuple[Job, Job]], resamples: int = RESAMPLES
) -> tuple[float, tuple[float, float]]:
    """Mean difference of mIoU between runs of the same seed on the same images, in points.

    The interval is a bootstrap over both sources of chance: seeds are drawn with replacement, and
    images likewise, the same ones for both runs of a pair.

    Args:
        pairs: (run, baseline) of one seed each.
        resamples: draws of the bootstrap, at a fixed seed.

    Returns:
        The difference, and its percentile interval of 95 %.

    Raises:
        ValueError: two runs were scored on different images.
    """
    counts = []
    for pair in pairs:
        (names, mine), (others, theirs) = (read_counts(job.results / COUNTS) for job in pair)
        if names != others:
            raise ValueError(
                f"{pair[0].results} and {pair[1].results} were scored on different images: remove "
                f"{SCORES} from both and run the study again"
            )
        counts.append((mine, theirs))
    both = np.array(counts).transpose(1, 0, 2, 3, 4)  # (run or baseline, seeds, images, 2, K)
    measured = _difference(both.sum(2))
    draws = np.random.default_rng(0)
    seeds, images = both.shape[1:3]
    drawn = [
        _difference(
            both[:, draws.integers(seeds, size=seeds)][:, :, draws.integers(images, size=images)]
            .sum(2)
        )
        for _ in range(resamples)
    ]  # fmt: skip
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return measured, (float(low), float(high))


def _difference(counts: np.ndarray) -> float:
    """Counts (2, seeds, 2, K) -> points of mIoU between the first and the second."""
    mine, theirs = mean_iou(counts).mean(1)
    return float(100 * (mine - theirs))


def document(study: Study, found: Sequence[Outcome], command: str) -> str:
    """Return the study as a Markdown section: the command, a table, and the scores seed by seed."""
    title = f"## {study.path.stem}\n\n```\n{command}\n```\n\n"
    return title + table(study, found) + "\n" + by_seed(found)


def table(study: Study, found: Sequence[Outcome]) -> str:
    """Return the Markdown table of runs."""
    classes = list(found[0].per_class) if found else []
    columns = ["run", "seeds", "steps", "hours", "mIoU"]
    compared = study.baseline is not None or bool(study.baselines)
    if compared:
        columns += ["to" if study.baselines else f"to {study.baseline}", "95 % interval"]
    rows = []
    for one in found:
        spread = "" if one.spread is None else f" ± {one.spread:.2f}"
        cells = [one.run, str(len(one.seeds)), str(one.steps or "-"), f"{one.hours:.2f}"]
        cells.append(f"{one.mean:.2f}{spread}")
        if compared:
            to = f"{study.baseline_of(one.run)}: " if study.baselines else ""
            cells += [
                "-" if one.difference is None else f"{to}{one.difference:+.2f}",
                "-" if one.interval is None else "{:+.2f} to {:+.2f}".format(*one.interval),
            ]
        values = one.per_class.values()
        rows.append([*cells, *("-" if value is None else f"{value:.2f}" for value in values)])
    return markdown_table([*columns, *classes], rows)


def by_seed(found: Sequence[Outcome]) -> str:
    """Return the Markdown table of mIoU, a row per run and a column per seed."""
    seeds = sorted({seed for one in found for seed in one.seeds})
    rows = []
    for one in found:
        known = dict(zip(one.seeds, one.scores, strict=True))
        rows.append([one.run, *(f"{known[s]:.2f}" if s in known else "-" for s in seeds)])
    return markdown_table(["mIoU", *(f"seed {seed}" for seed in seeds)], rows)


def as_json(study: Study, found: Sequence[Outcome], versions: dict[str, Any]) -> dict[str, Any]:
    """Return everything in the tables, and the command line of each run."""
    words = {run: list(jobs[0].words) for run, jobs in study.runs.items()}
    runs = [
        {**vars(one), "mean": one.mean, "spread": one.spread, "flags": words[one.run]}
        for one in found
    ]
    for run in runs:
        if run["hours"] != run["hours"]:  # JSON has no nan
            run["hours"] = None
    return {
        "recipe": study.path.name,
        "baseline": study.baseline,
        "baselines": dict(study.baselines),
        "versions": versions,
        "runs": runs,
    }


def plot(study: Study, found: Sequence[Outcome], path: Path) -> None:
    """Draw mIoU, over the grid where the runs differ in one number, and else over training cost."""
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    if study.axis is None:
        _plot_by_cost(study, found, axes)
    else:
        _plot_by_place(study, study.axis, found, axes)
    axes.set_ylabel("mIoU, %")
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, format="png", dpi=120)
    pyplot.close(figure)


def _plot_by_cost(study: Study, found: Sequence[Outcome], axes: Axes) -> None:
    """Draw a point per seed and a cross at each mean."""
    for one in found:
        (line,) = axes.plot([one.hours] * len(one.scores), one.scores, "o", alpha=0.4, ms=5)
        axes.plot(one.hours, one.mean, "x", color=line.get_color(), ms=10, label=one.run)
        if one.run == study.baseline:
            axes.axhline(one.mean, color="0.6", lw=1, ls="--", zorder=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("hours of training on this machine")


def _plot_by_place(study: Study, axis: str, found: Sequence[Outcome], axes: Axes) -> None:
    """Draw a line through each family's means, a point per seed, and a level without a grid."""
    families: dict[str, list[tuple[float, Outcome]]] = {}
    for one in found:
        job = study.runs[one.run][0]
        if job.place:
            families.setdefault(job.family, []).append((dict(job.place)[axis], one))
        else:
            axes.axhline(one.mean, lw=1, ls="--", color="0.6")
            axes.annotate(
                one.run, (0.01, one.mean), xycoords=("axes fraction", "data"), va="bottom"
            )
    for family, points in families.items():
        points.sort(key=lambda point: point[0])
        places = [place for place, _ in points]
        (line,) = axes.plot(places, [one.mean for _, one in points], "-x", ms=9, label=family)
        for place, one in points:
            axes.plot(
                [place] * len(one.scores), one.scores, "o", alpha=0.4, ms=5, c=line.get_color()
            )
    places = sorted({place for points in families.values() for place, _ in points})
    if places[0] > 0:
        axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    axes.set_xlabel(f"--{axis}")
