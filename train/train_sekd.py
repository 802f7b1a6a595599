"""Distil a teacher into a student with any `--method`."""

import sys
from pathlib import Path

if not __package__:  # run by path: import from the project root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from command_line.cli import run as run_command
from train.arguments import parse_options
from train.data import build_data
from train.networks import (
    build_criterion,
    build_distillation,
    build_student,
    build_teacher,
    find_teachers,
)
from train.run import start_run
from train.stage import train
from train.tasks import SupervisedTask
from train.validation import announce_teacher


def main() -> None:
    """Run the stage; `--method none` trains the student with the same flags but no teacher."""
    options = parse_options("sekd", sys.argv[1:])
    run = start_run(options)
    data = build_data(run)
    student = build_student(run, data)
    if options.method == "none":
        run.accelerator.print(
            "--method none: no teacher, and no flag of distillation has an effect"
        )
        criterion = build_criterion(run, data)
        train(run, SupervisedTask(student, criterion, data.preprocessing), data)
        return
    run = find_teachers(run, data)
    teacher = build_teacher(run)
    task = build_distillation(run, data, student, teacher)
    announce_teacher(run, teacher, data)
    train(run, task, data)


if __name__ == "__main__":
    run_command(main)
