"""The steps of a pipeline: commands, each with a check whether it is done."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval.reporting.run_records import read_log
from train.plan.request import CHECK, RECIPE, Request
from train.run_folder import BEST, LAST, LOG

RUNS = {"teacher": "teacher", "student": "student", "distilled": "sekd"}  # name: stage
EXPORT = ("--format", "onnx", "--with-preprocessing", "--with-argmax")


@dataclass(frozen=True)
class Step:
    """A command of a pipeline.

    Attributes:
        name: display name.
        words: script, relative to the project root, and flags.
        done: returns whether its output exists.
        record: file for its printed output, if it has no other output to show that it is done.
    """

    name: str
    words: tuple[str, ...]
    done: Callable[[], bool]
    record: Path | None = None


def plan_steps(
    request: Request, folder: Path, teacher_model: str, steps: int, score: str
) -> list[Step]:
    """All steps in order.

    Args:
        request: flags of the pipeline.
        folder: of the pipeline, which contains the recipe.
        teacher_model: the teacher's network.
        steps: optimizer steps of each run.
        score: split on which the runs are compared.
    """
    runs = [str(folder / name) for name in RUNS]
    device = () if request.device is None else ("--device", request.device)
    check, table = folder / CHECK, folder / "comparison" / "comparison.json"
    report, exported = folder / "report.html", folder / "student.onnx"
    scoring = ("--subset", score, *device)
    return [
        Step("check", ("datasets/prepare.py", "check", *_data(request)), check.exists, check),
        *(_training(request, folder, name, teacher_model, steps) for name in RUNS),
        Step(
            "compare",
            ("eval/compare.py", *runs, *scoring, "--output", str(table.parent)),
            table.exists,
        ),
        Step("report", ("eval/report.py", *runs, *scoring, "--output", str(report)), report.exists),
        Step(
            "export",
            ("eval/export.py", "--state", runs[-1], *EXPORT, "--output", str(exported)),
            exported.exists,
        ),
    ]


def steps_done(run: Path) -> int:
    """Optimizer steps in the log of a run."""
    steps = read_log(run / LOG).get("step")
    return int(steps[-1]) if steps else 0


def _data(request: Request) -> tuple[str, ...]:
    words: tuple[str, ...] = ("--dataset", request.dataset)
    words += () if request.datadir is None else ("--datadir", request.datadir)
    return words + (() if request.classes is None else ("--classes", request.classes))


def _training(request: Request, folder: Path, name: str, teacher_model: str, steps: int) -> Step:
    run = folder / name
    words: tuple[str, ...] = (f"train/train_{RUNS[name]}.py", "--config", str(folder / RECIPE))
    words += ("--savedir", str(folder), "--run-name", name)
    words += ("--model", teacher_model if name == "teacher" else request.model)
    if name == "distilled":
        words += ("--method", request.method, "--teacher", str(folder / "teacher" / BEST))
        words += () if request.unlabelled is None else ("--unlabelled", request.unlabelled)
    # A run killed before its first checkpoint starts over.
    words += ("--resume",) if (run / LAST).exists() else ("--overwrite",)

    def done() -> bool:
        return (run / BEST).exists() and (run / LAST).exists() and steps_done(run) >= steps

    return Step(name, words, done)
