"""Charts in a report: curves, bars and confusion matrices, each in a light and a dark theme."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the pale yellow.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)))  # if there are more runs than colours
THEMES = {
    "light": {"text": "#3b4148", "line": "#d9dde2", "page": "#ffffff"},
    "dark": {"text": "#c3cad3", "line": "#3a424c", "page": "#161b22"},
}
ANNOTATED = 24  # most classes for which a confusion matrix has room for numbers

Theme = Mapping[str, str]


@dataclass(frozen=True)
class Chart:
    """A chart as data URIs in both themes, and its alternative text."""

    light: str
    dark: str
    alt: str


@dataclass(frozen=True)
class Curve:
    """A line over optimizer steps; nan for unknown values."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]


def colour(index: int) -> str:
    """Return the colour of the run with this index."""
    return COLOURS[index % len(COLOURS)]


def miou_chart(curves: Sequence[tuple[int, Curve]]) -> Chart:
    """Draw validation mIoU in %, with each run's best value marked.

    Args:
        curves: with the index of the run, which determines the colour; values 0..1.
    """
    lines = [(index, *_known(curve)) for index, curve in curves]

    def draw(axes: Axes, theme: Theme) -> None:
        for index, name, steps, values, best in lines:
            dashes = DASHES[index // len(COLOURS) % 3]
            axes.plot(steps, values, linewidth=1.8, label=name, color=colour(index), ls=dashes)
            axes.plot(steps[best], values[best], "o", color=colour(index), markersize=6,
                      markeredgecolor=theme["page"], markeredgewidth=1.2, zorder=4)  # fmt: skip
        _count_steps(axes)
        axes.set_ylabel("mIoU on the validation split, %")
        add_legend(axes, "lower")

    said = [
        f"{name}: best {values[best]:.1f} % at step {steps[best]:.0f}"
        for _, name, steps, values, best in lines
    ]
    light, dark = both_themes(draw, (8, 4.2))
    return Chart(light, dark, f"Curves of mIoU over optimizer steps. {'; '.join(said)}.")


def _known(curve: Curve) -> tuple[str, np.ndarray, np.ndarray, int]:
    """Return name, steps and percentages of the validated epochs, and the index of the best."""
    values = 100 * np.array(curve.values)
    known = ~np.isnan(values)
    return curve.name, np.array(curve.steps)[known], values[known], int(values[known].argmax())


def loss_charts(curves: Sequence[Curve]) -> list[Chart]:
    """Draw each loss term of a run in its own chart, on a linear axis from 0 if none is negative.

    Args:
        curves: mean of each term per epoch; the first one is the sum of the others.
    """
    return [_loss_chart(curve, place) for place, curve in enumerate(curves)]


def _loss_chart(curve: Curve, place: int) -> Chart:
    def draw(axes: Axes, theme: Theme) -> None:
        shade = theme["text"] if place == 0 else colour(place - 1)
        axes.plot(curve.steps, curve.values, color=shade, linewidth=1.6)
        axes.set_title(curve.name, fontsize=11, color=theme["text"])
        _count_steps(axes)
        if all(value >= 0 for value in curve.values if math.isfinite(value)):
            axes.set_ylim(bottom=0)

    ends = f"from {_end(curve.values, 0):.3g} to {_end(curve.values, -1):.3g}"
    light, dark = both_themes(draw, (3.6, 2.6))
    return Chart(light, dark, f"Loss curve: {curve.name} {ends}.")


def _count_steps(axes: Axes) -> None:
    """Label the step axis, with integer ticks only."""
    axes.set_xlabel("optimizer steps")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _end(values: Sequence[float], index: int) -> float:
    known = [value for value in values if math.isfinite(value)]
    return known[index] if known else math.nan


def class_chart(classes: Sequence[str], runs: Mapping[str, Sequence[float | None]]) -> Chart:
    """Draw each class's IoU in %, one bar per run; absent classes have none.

    Args:
        classes: names, from top to bottom.
        runs: IoU 0..1 per class, by the run's name.
    """
    thickness = 0.8 / len(runs)

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, scores) in enumerate(runs.items()):
            centres = np.arange(len(classes)) - 0.4 + (place + 0.5) * thickness
            widths = [0 if score is None else 100 * score for score in scores]
            labels = ["absent" if score is None else f"{100 * score:.1f}" for score in scores]
            bars = axes.barh(centres, widths, 0.9 * thickness, color=colour(place), label=name)
            axes.bar_label(bars, labels, padding=3, color=theme["text"], fontsize=8.5)
        axes.set_yticks(range(len(classes)), classes)
        axes.set_ylim(len(classes) - 0.5, -0.5)  # the first class on top, and no margins
        axes.set_xlim(0, 108)  # room for the number after a full bar
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("IoU, %")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", top=True, labeltop=True)  # many classes make a long chart
        add_legend(axes, "upper")

    height = 1.2 + len(classes) * max(0.45, 0.24 * len(runs))
    light, dark = both_themes(draw, (8, height))
    return Chart(light, dark, "Bars of each class's IoU; the table of runs has the same numbers.")


def confusion_chart(classes: Sequence[str], matrix: np.ndarray) -> Chart:
    """Draw a confusion matrix, in % of the pixels of each labelled class.

    Args:
        classes: names.
        matrix: (K, K) counts, rows are labels, columns predictions.
    """
    totals = matrix.sum(1, keepdims=True)
    shares = 100 * matrix / np.maximum(totals, 1)
    count = len(classes)

    def draw(axes: Axes, theme: Theme) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        turned = 45 if count > 5 or max(map(len, classes)) > 10 else 0
        axes.set_xticks(range(count), classes, rotation=turned, ha="right" if turned else "center")
        axes.set_yticks(range(count), classes)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("labelled")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        if count <= ANNOTATED:
            digits, size = (1, 10) if count <= 8 else (0, 8)
            for row, column in np.ndindex(count, count):
                share = shares[row, column]
                text = f"{share:.{digits}f}" if totals[row] else "-"
                if text == "0" and row != column:
                    continue  # zeros would hide the relevant numbers of a large matrix
                axes.text(column, row, text, ha="center", va="center", fontsize=size,
                          color="white" if share > 55 else "#1c2733")  # fmt: skip

    side = 1.8 + min(max(2.8, 0.5 * count), 16)
    said = [
        f"{name}: {shares[i, i]:.1f} % found" if totals[i] else f"{name}: not in the labels"
        for i, name in enumerate(classes)
    ]
    light, dark = both_themes(draw, (side, side * 0.9))
    return Chart(light, dark, f"Confusion matrix, in % of each labelled class. {'; '.join(said)}.")


def add_legend(axes: Axes, side: Literal["upper", "lower"]) -> None:
    """Put the legend above or below the chart, where it covers no line."""
    lines, names = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = 11.5 * figure.get_figwidth()  # characters; a line sample takes 6
    columns = max(1, min(len(names), int(room / (max(map(len, names)) + 6))))
    place: Literal["outside upper center", "outside lower center"] = (
        "outside upper center" if side == "upper" else "outside lower center"
    )
    figure.legend(lines, names, loc=place, ncols=columns, frameon=False)


def both_themes(draw: Callable[[Axes, Theme], None], size: tuple[float, float]) -> tuple[str, str]:
    """Draw a chart in the light and the dark theme; return two data URIs."""
    light, dark = (_render(draw, size, theme) for theme in THEMES.values())
    return light, dark


def _render(draw: Callable[[Axes, Theme], None], size: tuple[float, float], theme: Theme) -> str:
    text, line = theme["text"], theme["line"]
    style: dict[Any, Any] = {
        "text.color": text, "axes.labelcolor": text, "xtick.color": text, "ytick.color": text,
        "axes.edgecolor": line, "grid.color": line, "grid.linewidth": 0.7, "axes.grid": True,
        "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "font.size": 10, "axes.facecolor": "none", "svg.hashsalt": "sekd",
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot(), theme)
        buffer = io.BytesIO()
        # Without the date, so that the same numbers give the same page.
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as a data URI, so that a page needs no other files."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
