"""From a data set to a distilled student, a report and an ONNX file for a robot.

    python train/pipeline.py --datadir FIELD --output runs/field

checks the data, estimates the total time, trains a teacher, a student and a distilled student,
compares them, writes a report and exports the distilled student. The same command continues after
it was stopped or killed; each step is a separate command, which is printed.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

if not __package__:  # run by path: import from the project root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from command_line.arguments import positive_integer
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.outputs import check_folder
from datasets import DATASETS
from losses import METHODS
from models import MODELS
from models.shipped import NAME as SHIPPED
from train.plan import estimate as estimates
from train.plan.estimate import Estimate, estimate, spoken
from train.plan.outline import Plan, make_plan, write_recipe
from train.plan.presets import CHEAPEST, PRESETS
from train.plan.request import Request, remember, settle
from train.plan.running import Runner, claimed, typed
from train.plan.steps import EXPORT, Step, plan_steps, steps_done
from train.plan.timing import time_first_steps

LONG = 3600  # seconds from which on the cheapest preset's estimate is shown as well


def main() -> int:
    """Run the command line."""
    args = build_parser().parse_args()
    given = {each.name: getattr(args, each.name) for each in fields(Request)}
    request = settle(given, args.output)
    choose_device(request.device)
    plan = make_plan(request, args.output)
    print(plan.tell(), flush=True)
    if args.plan:
        print(told(plan, measure(plan)))
        return 0
    check_folder(args.output, "--output")
    with claimed(args.output) as lock:
        return go(plan, args.output, Runner(lock, request.launcher), args.accept_problems)


def go(plan: Plan, folder: Path, runner: Runner, accept_problems: bool) -> int:
    """Run the remaining steps; return the exit status of the one that failed, or 0.

    Raises:
        ValueError: the data has problems, or a step crashed without an error message.
        KeyboardInterrupt: the user stopped the pipeline.
    """
    remember(plan.request, folder)
    total, score = plan.recipe["max-steps"], plan.facts.score
    check, *others = plan_steps(plan.request, folder, plan.teacher_model, total, score)
    if not check.done():
        accepted = (0, 1) if accept_problems else (0,)
        status = runner(check.words, check.record, accepted)
        if status == 1 and not accept_problems:
            raise ValueError(
                "the problems above come first: correct them and run the same command, or pass "
                "--accept-problems where they are none"
            )
        if status not in accepted:
            return ended(check, status)
    write_recipe(plan, folder)
    found = estimates.read(folder)
    if found is None and not all(step.done() for step in others):
        found = measure(plan)
        print(told(plan, found), flush=True)
        estimates.save(found, folder)
    for number, step in enumerate(others, 1):
        if step.done():
            print(f"{step.name}: done before")
            continue
        assert found is not None
        left = spoken(seconds_left(found, folder, others, total))
        print(f"\nstep {number} of {len(others)}, {step.name}; about {left} left in all")
        if status := runner(step.words):
            return ended(step, status)
    print(summary(folder))
    return 0


def measure(plan: Plan) -> Estimate:
    """Time the first steps of the runs, and estimate the time of the whole pipeline."""
    print("timing the first steps of each run", flush=True)
    costs, startup = time_first_steps(plan.runs, plan.teacher_model)
    device = choose_device(plan.request.device).type
    return estimate(costs, plan.recipe, plan.facts, startup, device)


def told(plan: Plan, found: Estimate) -> str:
    """The estimate as one line; if it is long, followed by that of the cheapest preset."""
    line = found.tell()
    if found.seconds < LONG or plan.request.preset == CHEAPEST:
        return line
    cheaper = make_plan(replace(plan.request, preset=CHEAPEST), None)
    return f"{line}; with --preset {CHEAPEST} about {spoken(measure(cheaper).seconds)}"


def seconds_left(found: Estimate, folder: Path, steps: Sequence[Step], total: int) -> float:
    """Estimated seconds for the remaining steps."""
    shares = {name: 1 - min(1, steps_done(folder / name) / total) for name in found.runs}
    rest = [step.done() for step in steps if step.name not in found.runs]
    training = sum(share * found.runs[name] for name, share in shares.items())
    return training + found.rest * rest.count(False) / len(rest)


def ended(step: Step, status: int) -> int:
    """Return the status of a step that failed with an error message.

    Raises:
        ValueError: it failed without one.
    """
    if status in (1, 2):
        return status
    how = f"by signal {-status}, as where memory ends" if status < 0 else f"with status {status}"
    raise ValueError(
        f"step {step.name} ended {how}: see above; the same command goes on from there"
    )


def summary(folder: Path) -> str:
    """The scores, and where the results are."""
    results = json.loads((folder / "comparison" / "comparison.json").read_text())["results"]
    scores = [100 * result["miou"] for result in results]
    names = [result["name"] for result in results]
    parts = ", ".join(f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True))
    _, student, distilled = scores
    lines = [f"\nmIoU in %: {parts}; distillation {distilled - student:+.2f}"]
    if distilled < student:
        words = ("eval/export.py", *EXPORT, "--state", str(folder / "student"))
        lines.append(
            "note: the student that was trained alone is better here; a difference of one or two "
            f"points may be chance. To export it instead: {typed(words)}"
        )
    lines += [f"report: {folder / 'report.html'}", f"for a robot: {folder / 'student.onnx'}"]
    return "\n".join(lines)


def build_parser() -> OneLineParser:
    """Return the command-line parser."""
    parser = OneLineParser(
        description="Check data, train teacher, student and distilled student on it, compare them, "
        "write a report and export the distilled student; the same command continues where it was "
        "stopped."
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of everything that this makes")
    add("--datadir", type=Path, help="folder of the data set")
    add("--dataset", choices=tuple(DATASETS), help="VOC for your own data (default: VOC)")
    add("--classes", help="class names of your own data, where it has no dataset.yaml")
    presets = "; ".join(f"{name}: {preset.text}" for name, preset in PRESETS.items())
    add("--preset", choices=tuple(PRESETS), help=f"{presets} (default: by this machine)")
    add("--model", choices=tuple(MODELS), help="student (default: SegformerB0)")
    add("--teacher-model", choices=tuple(MODELS), help="teacher (default: the preset's)")
    add("--method", help=f"'+' joins several: {', '.join(METHODS)} (default: sekd-ct)")
    add(
        "--unlabelled",
        metavar="DIR",
        help="photographs without labels that the distilled student learns from as well",
    )
    add("--steps", type=positive_integer, help="optimizer steps per run (default: the preset's)")
    add(
        "--pretrained",
        nargs="?",
        const=True,
        choices=(SHIPPED,),
        help="start all networks from the weights that come with the project and have seen drawn "
        "crop fields only; without a value, encoders from the ImageNet weights in ckpt_pretrained/",
    )
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add(
        "--launcher",
        help="what starts training, such as 'accelerate launch --num_processes 2' for several "
        "GPUs; the estimate is of one process (default: this Python)",
    )
    add("--config", type=Path, help="YAML recipe of training flags that override the preset's")
    add("--accept-problems", action="store_true", help="train although the check finds problems")
    add("--plan", action="store_true", help="say how long it will take, and do nothing")
    return parser


if __name__ == "__main__":
    run(main)
