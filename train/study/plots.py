"""Plots of a study: scores over training time or a grid, and each run's gain."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from train.study.comparison import Outcome, baseline_lengths
from train.study.study import Study

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend comes first: servers have no display)
from matplotlib.axes import Axes  # noqa: E402


def plot(study: Study, found: Sequence[Outcome], path: Path) -> None:
    """Plot mIoU over the grid if the runs differ in one number, otherwise over training time.

    Further panels show each run's difference to its baseline, if runs are compared and not plotted
    over a grid, and that difference over its teacher's score, if the scores of teachers differ.
    """
    compared = [one for one in found if one.difference is not None]
    taught = [one for one in compared if one.teacher_score is not None]
    by_run = bool(compared) and study.axis is None
    by_teacher = len({one.teacher_score for one in taught}) > 1
    count = 1 + by_run + by_teacher
    figure, panels = pyplot.subplots(
        1,
        count,
        figsize=(8.0 if count == 1 else 6.5 * count, max(5.0, 0.35 * len(found))),
        layout="constrained",
        squeeze=False,
    )
    if len(found) > 10:  # matplotlib's default colours would repeat
        for panel in panels[0]:
            panel.set_prop_cycle(color=matplotlib.colormaps["tab20"].colors)  # type: ignore[attr-defined]
    axes, *beside = panels[0]
    if study.axis is not None and any(study.runs[one.run][0].place for one in found):
        _plot_by_place(study, study.axis, found, axes)
    else:
        _plot_by_cost(study, found, axes)
    axes.set_ylabel("mIoU, %")
    axes.legend(fontsize=8, ncols=2)
    if by_run:
        _plot_differences(study, compared, beside[0])
    if by_teacher:
        _plot_by_teacher(taught, beside[-1])
    figure.savefig(path, format="png", dpi=120)
    pyplot.close(figure)


def _plot_by_teacher(taught: Sequence[Outcome], axes: Axes) -> None:
    """Plot each run's difference and interval over its teacher's score; hollow: a single seed."""
    for one in taught:
        assert one.teacher_score is not None and one.difference is not None
        alone = one.interval is None
        (point,) = axes.plot(
            one.teacher_score, one.difference, "o", mfc="none" if alone else None, label=one.run
        )
        if one.interval is not None:
            axes.plot([one.teacher_score] * 2, one.interval, "-", lw=1, color=point.get_color())
    axes.axhline(0, lw=1, color="0.6", zorder=0)
    axes.set_xlabel("mIoU of the teacher, %")
    axes.set_ylabel("points of mIoU to the baseline")
    axes.legend(fontsize=8)


def _plot_differences(study: Study, compared: Sequence[Outcome], axes: Axes) -> None:
    """Plot a row per run, the best on top: difference to its baseline, and interval.

    Blue is above the baseline, red below it, grey if the interval contains 0, and hollow if there
    is none because of a single seed.
    """
    rows = sorted(compared, key=lambda one: one.difference or 0)
    for place, one in enumerate(rows):
        assert one.difference is not None
        if one.interval is None:
            axes.plot(one.difference, place, "o", color="0.4", mfc="none")
            continue
        axes.plot(one.interval, [place, place], "-", color="0.6")
        low, high = one.interval
        axes.plot(
            one.difference, place, "o", color="C0" if low > 0 else "C3" if high < 0 else "0.4"
        )
    named = {one.run: study.baseline_of(one.run) for one in rows}
    several = len(set(named.values())) > 1
    labels = [f"{run} - {base}" if several else run for run, base in named.items()]
    axes.set_yticks(range(len(rows)), labels)
    axes.axvline(0, lw=1, color="0.6", zorder=0)
    to = "its baseline" if several else next(iter(named.values()))
    axes.set_xlabel(f"points of mIoU to {to}, 95 % interval (hollow: one seed)")


def _plot_by_cost(study: Study, found: Sequence[Outcome], axes: Axes) -> None:
    """Plot a point per seed, a cross at each mean, and a line through the baseline's lengths."""
    for one in found:
        (line,) = axes.plot([one.hours] * len(one.scores), one.scores, "o", alpha=0.4, ms=5)
        axes.plot(one.hours, one.mean, "x", color=line.get_color(), ms=10, label=one.run)
    lengths = baseline_lengths(study, found)
    if len(lengths) > 1:
        hours, means = [one.hours for one in lengths], [one.mean for one in lengths]
        axes.plot(hours, means, "--", lw=1, color="0.6", zorder=0)
    for one in found:
        if one.run == study.baseline and len(lengths) < 2:
            axes.axhline(one.mean, color="0.6", lw=1, ls="--", zorder=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("hours of training")


def _plot_by_place(study: Study, axis: str, found: Sequence[Outcome], axes: Axes) -> None:
    """Plot a line through each family's means, points per seed, and levels of runs without grid."""
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
