"""Options of a run, from the command line, a recipe and a resumed run.

Sources, with later ones taking precedence: defaults of the options, the run being resumed, a YAML
recipe (`--config`), the command line. The resolved set is saved with the run as `args.yaml`. All
flags of the published scripts are supported, so that published command lines run as printed.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from command_line.arguments import switch
from command_line.cli import OneLineParser
from command_line.documents import read_mapping
from train.checkpoint import read_arguments
from train.options import (
    DataOptions,
    DistillationOptions,
    LoggingOptions,
    NetworkOptions,
    OptimisationOptions,
    Options,
    RunOptions,
)
from train.options.flag import add_flags
from train.overwriting import recover
from train.run_folder import LAST, check_place, find_run

DESCRIPTIONS = {
    "teacher": "Train a teacher network with labels.",
    "student": "Train a student network with labels alone, to compare a distilled one with.",
    "sekd": "Distil a teacher into a student, by any method of --method.",
}
# Defaults of a stage that differ from those of the options, by field name.
OF_STAGE: Mapping[str, Mapping[str, Any]] = {
    "teacher": {"model": "SegformerB3", "num_epochs": 200, "lr": 4e-5},
    "student": {"model": "SegformerB0", "lr": 5e-5},
    "sekd": {"model": "SegformerB0", "lr": 5e-5},
}
# Flags shown by --help; --help-all shows every flag.
FIRST = (
    "--run-name", "--resume", "--config", "--seed", "--model", "--pretrained", "--dataset",
    "--datadir", "--classes", "--height", "--image-size", "--num-epochs", "--max-steps",
    "--batch-size", "--lr", "--class-weights", "--device",
)  # fmt: skip
GROUPS = {
    "run": RunOptions,
    "model": NetworkOptions,
    "data": DataOptions,
    "optimisation": OptimisationOptions,
    "validation and logging": LoggingOptions,
}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Appends the default of a flag that has one, unless its help text already says it."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.default is None or "(default: " in text:
            return text
        return super()._get_help_string(action) or ""


class FlagParser(OneLineParser):
    """The parser of a stage, which applies the same checks to values from a YAML file."""

    def __init__(self, stage: str) -> None:
        super().__init__(
            description=DESCRIPTIONS[stage], allow_abbrev=False, formatter_class=HelpFormatter
        )
        distillation = {"distillation": DistillationOptions} if stage == "sekd" else {}
        for title, concern in (GROUPS | distillation).items():
            add_flags(self.add_argument_group(title), concern)
        self.set_defaults(**OF_STAGE[stage])
        self.actions = {action.dest: action for action in self._actions if action.dest != "help"}
        self.show_first(*FIRST, *(("--teacher", "--method") if stage == "sekd" else ()))

    def read(self, arguments: Sequence[str], saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all flags; the command line takes precedence over `saved`."""
        return vars(self.parse_args(arguments, argparse.Namespace(**saved)))

    def check(self, values: Mapping[str, Any], source: object) -> dict[str, Any]:
        """Check and convert values from a file like those from the command line.

        Args:
            values: by flag, spelled with hyphens or underscores; None means not given.
            source: the file, for error messages.

        Raises:
            ValueError: a flag that this stage does not have or that occurs twice, or a switch that
                is neither on nor off.
            SystemExit: status 2, for a value that argparse rejects.
        """
        checked: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for key, value in values.items():
            action = self.actions.get(key.replace("-", "_"))
            if action is None:
                known = ", ".join(sorted(self.actions))
                raise ValueError(f"{source}: unknown flag '{key}'; known: {known}")
            if action.dest in seen:
                raise ValueError(f"{source}: {key} is given twice, once as {seen[action.dest]}")
            seen[action.dest] = key
            if value is None:
                continue
            if action.nargs == 0:  # in a recipe it may be text, such as "false"
                try:
                    checked[action.dest] = switch(str(value))
                except argparse.ArgumentTypeError as error:
                    raise ValueError(f"{source}: {key}: {error}") from None
            else:
                checked[action.dest] = self._convert(action, value)
        return checked

    def _convert(self, action: argparse.Action, value: Any) -> Any:
        if isinstance(value, dict):
            self.error(f"argument --{action.dest.replace('_', '-')}: expected a value, not a table")
        if not isinstance(value, list | tuple):
            words = [str(value)]
        elif action.nargs is None or action.nargs == "?":
            joint = "x" if action.dest == "image_size" else ","
            words = [joint.join(map(str, value))]
        else:
            words = [str(item) for item in value]
        try:
            if self._match_argument(action, "A" * len(words)) != len(words):
                raise argparse.ArgumentError(action, f"expected {action.nargs} arguments")
            return self._get_values(action, words)
        except argparse.ArgumentError as error:
            self.error(str(error))


def parse_options(stage: str, arguments: Sequence[str]) -> Options:
    """Read the options of one stage.

    Args:
        stage: "teacher", "student" or "sekd"; only the last has distillation flags.
        arguments: the command line without the program's name.

    Raises:
        ValueError: flags that contradict each other, an unknown name, an unreadable recipe, a run
            that cannot be resumed.
        SystemExit: status 2, for anything that argparse rejects.
    """
    parser = FlagParser(stage)
    values, recipe = parser.read(arguments, {}), {}
    if values["config"] is not None:
        written = read_recipe(values["config"])
        if written.pop("stage", stage) != stage:  # args.yaml is also a recipe
            raise ValueError(
                f"--config {values['config']} is of another stage than train_{stage}.py"
            )
        recipe = parser.check(written, values["config"])
        values = parser.read(arguments, recipe)
    if values["resume"] is None:
        return Options.of(stage, values)
    # The path may be relative to a run folder, such as last.pth; make it absolute, since files next
    # to the folder, such as its lock, are named after it.
    named = Path(os.path.abspath(values["resume"] or Options.of(stage, values).folder))
    for folder in (named, named.parent):
        if folder.name:  # the root has none, and is not a run
            recover(folder)
    source = named if values["resume"] else find_run(Options.of(stage, values))
    if source.is_dir():
        source = source / LAST
    saved = read_arguments(source)
    if saved.pop("stage", stage) != stage:
        raise ValueError(f"--resume {source} is a run of another stage than train_{stage}.py")
    if values["resume"]:
        typed = parser.read(arguments, {"savedir": None, "run_name": None})  # without defaults
        check_place(source, typed["savedir"], typed["run_name"])
    values = parser.read(arguments, parser.check(saved, source) | recipe)
    options = Options.of(stage, values)
    return replace(options, run=replace(options.run, resume=source))


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a YAML file of flag: value.

    Raises:
        ValueError: it is not a mapping, or not YAML.
        FileNotFoundError: there is no such file.
    """
    try:
        return read_mapping(Path(path), "--config")
    except FileNotFoundError:
        raise FileNotFoundError(f"--config {path}: no such file") from None
    except OSError:
        raise ValueError(f"--config {path} is not a text file: name a YAML recipe") from None
