"""Train all runs of a study's recipe, score each once, and write one table.

    python train/sweep.py recipes/cwfid-study.yaml --output results/study.md --datadir DIR

Finished runs are skipped and interrupted ones resumed, so the same command continues an interrupted
study. `train/study/recipe.py` describes the recipe.
"""

import shlex
import sys
from pathlib import Path

if not __package__:  # run by path: import from the project root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from tqdm import tqdm

from command_line.arguments import positive_integer
from command_line.cli import OneLineParser, run
from command_line.outputs import check_target, replacing
from eval.results import write_json
from models.saving import software_versions
from train.study.comparison import outcomes
from train.study.job_queue import Queue
from train.study.jobs import seconds_left, steps_done, to_train, with_teachers, write_plan
from train.study.plots import plot
from train.study.recipe import read_study
from train.study.settings import check_settings, note_emulated_precision, note_other_starts
from train.study.study import Job, Study
from train.study.tables import as_json, document

JSON, PLOT = ".json", ".png"  # suffixes of the files written beside the table


def main() -> int:
    """Run the command line."""
    args = build_parser().parse_args()
    if args.output is not None:
        check_target(args.output, "--output")
        if args.output.suffix in (JSON, PLOT):
            raise ValueError(
                f"--output {args.output}: names the Markdown file, such as study.md; "
                f"{args.output.suffix} is written beside it"
            )
    more = {} if args.datadir is None else {"datadir": str(args.datadir)}
    study = read_study(args.recipe, more)
    check_settings(study)
    jobs = chosen(study, args.only)
    left = to_train(study, jobs)
    note_other_starts(study, left)
    note_emulated_precision(study, left)
    time = format_time(seconds_left(study, left, args.parallel))
    tqdm.write(f"{len(left)} of {len(jobs)} runs are left, time left: {time}")
    if args.plan:
        write_plan(jobs, left, tqdm.write)
        return 0
    try:
        with StepsBar(left) as bar:
            queue = Queue(study, left, args.parallel, args.launcher, tqdm.write, bar.look)
            queue.run()
    finally:
        if args.output is not None:
            write_tables(study, args.output)
    return 1 if queue.failed else 0


def chosen(study: Study, only: list[str] | None) -> list[Job]:
    """The jobs of the runs named by --only and of the teachers they need; without it, all jobs.

    Raises:
        ValueError: there is no run of that name.
    """
    if only is None:
        return list(study.jobs)
    wanted = set(only)
    if unknown := sorted(wanted - set(study.runs)):
        raise ValueError(
            f"--only {unknown[0]}: no run of {study.path}; runs: {', '.join(study.runs)}"
        )
    found = with_teachers(study, (job for job in study.jobs if job.run in wanted))
    return [job for job in study.jobs if job in found]


class StepsBar(tqdm):
    """A progress bar over the optimizer steps of all jobs, read from their logs."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        total = sum(job.steps or 0 for job in jobs)
        super().__init__(total=total, initial=self.steps(), unit="step", disable=None)

    def steps(self) -> int:
        """Steps completed by all jobs."""
        return sum(map(steps_done, self.jobs))

    def look(self) -> None:
        """Update the bar from the logs."""
        self.update(self.steps() - self.n)


def write_tables(study: Study, output: Path) -> None:
    """Write Markdown, JSON and a plot of the runs finished so far, next to each other.

    Raises:
        ValueError: another process has trained a run with settings other than the recipe's.
    """
    check_settings(study)
    found = outcomes(study)
    if not found:
        return
    command = shlex.join(["python", "train/sweep.py", str(study.path), "--output", str(output)])
    with replacing(output) as temporary:
        temporary.write_text(document(study, found, command), encoding="utf-8")
    write_json(output.with_suffix(JSON), as_json(study, found, software_versions()))
    with replacing(output.with_suffix(PLOT)) as temporary:
        plot(study, found, temporary)
    tqdm.write(f"table: {output}")


def format_time(seconds: float | None) -> str:
    """Format a duration as 1:02:03, or say that it is not known yet."""
    return "not known yet" if seconds is None else tqdm.format_interval(seconds)


def build_parser() -> OneLineParser:
    """Return the command-line parser."""
    parser = OneLineParser(description="Train all runs of a study, score each, write one table.")
    add = parser.add_argument
    add("recipe", type=Path, help="YAML recipe of runs, such as recipes/cwfid-study.yaml")
    add("--output", type=Path, help="Markdown file to write; JSON and plot are written beside it")
    add("--datadir", type=Path, help="data set of all runs, instead of the recipe's")
    add("--only", nargs="+", metavar="RUN", help="run only these, and the teachers they need")
    add(
        "--plan",
        action="store_true",
        help="list what is left, and train nothing",
    )
    add("--parallel", type=positive_integer, default=1, help="runs at a time (default: 1)")
    add(
        "--launcher",
        default="",
        help="what starts a training script, such as 'accelerate launch --num_processes 2' "
        "(default: this Python)",
    )
    return parser


if __name__ == "__main__":
    run(main)
