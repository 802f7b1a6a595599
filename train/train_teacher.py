"""Train a teacher: a large network, on labels only."""

import sys
from pathlib import Path

if not __package__:  # run by path: import from the project root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from command_line.cli import run as run_command
from train.arguments import parse_options
from train.data import build_data
from train.networks import build_criterion, build_student
from train.run import start_run
from train.stage import train
from train.tasks import SupervisedTask


def main() -> None:
    """Run the stage."""
    options = parse_options("teacher", sys.argv[1:])
    run = start_run(options)
    data = build_data(run)
    network = build_student(run, data)
    criterion = build_criterion(run, data)
    train(run, SupervisedTask(network, criterion, data.preprocessing), data)


if __name__ == "__main__":
    run_command(main)
