"""The flags of the three training scripts.

Sources, later ones winning: the defaults below, the run being resumed, a YAML recipe
(`--config`), the command line. The resolved set is saved with the run as `args.yaml`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from command_line.arguments import switch
from datasets import DATASETS
from losses import METHODS
from models import MODELS
from train.checkpoint import read_arguments
from train.flags import PUBLISHED_LOSSES, build_parser
from train.run_folder import LAST, find_run

DEFAULT_METHOD = "sekd-ct"
MIN_SIDE = 32
MAY_BE_FILES = ("classes", "class_weights", "teacher", "pretrained")
NOT_SAVED = ("stage", "resume", "config", "overwrite", "cuda")  # --cuda is saved as device


def parse_options(stage: str, arguments: Sequence[str], **defaults: object) -> argparse.Namespace:
    """Read the flags of one stage.

    Args:
        stage: "teacher", "student" or "sekd"; only the last has distillation flags.
        arguments: the command line without the program's name.
        defaults: what this stage's script sets differently, by flag name.

    Raises:
        ValueError: flags that contradict each other, an unknown name, an unreadable recipe.
        SystemExit: status 2, for what argparse refuses.
    """
    parser = build_parser(stage)
    parser.set_defaults(**defaults)
    arguments = list(arguments)
    options = parser.parse_args(arguments)
    if options.config is not None:
        recipe = read_recipe(options.config)
        if recipe.pop("stage", stage) != stage:  # args.yaml of a run is a recipe as well
            raise ValueError(f"--config {options.config} is of another stage than train_{stage}.py")
        arguments = to_arguments(parser, recipe, options.config) + arguments
        options = parser.parse_args(arguments)
    if options.resume is not None:
        source = Path(options.resume) if options.resume else find_run(_canonical(stage, options))
        if source.is_dir():
            source = source / LAST
        saved = read_arguments(source)
        if saved.pop("stage", stage) != stage:
            raise ValueError(f"--resume {source} is a run of another stage than train_{stage}.py")
        options = parser.parse_args(to_arguments(parser, saved, source) + arguments)
        options.resume = source
    return _canonical(stage, options)


def read_recipe(path: Path) -> dict:
    """Read a YAML file of flag: value.

    Raises:
        ValueError: it is not a mapping, or not YAML.
        FileNotFoundError: there is no such file.
    """
    try:
        recipe = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"--config {path}: no such file") from None
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"--config {path} is not a text file: name a YAML recipe") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--config {path} is not YAML: {reason}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"--config {path} must hold lines of 'flag: value'")
    return recipe


def to_arguments(parser: argparse.ArgumentParser, values: dict, source: object) -> list[str]:
    """Spell saved values as command line words, so that argparse checks them like typed ones.

    Raises:
        ValueError: `source` holds a flag this stage does not have.
    """
    actions = {action.dest: action for action in parser._actions}
    words: list[str] = []
    for key, value in values.items():
        action = actions.get(key.replace("-", "_"))
        if action is None:
            known = ", ".join(sorted(name for name in actions if name != "help"))
            raise ValueError(f"{source}: unknown flag '{key}'; known: {known}")
        try:
            words += _spell(action, value)
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"{source}: {key}: {error}") from None
    return words


def _spell(action: argparse.Action, value: object) -> list[str]:
    flag = action.option_strings[0]
    if value is None:
        return []
    two_ways = isinstance(action, argparse.BooleanOptionalAction)
    if two_ways or action.nargs == 0:
        if switch(str(value)):  # in a recipe it may be text, such as "false"
            return [flag]
        return [action.option_strings[1]] if two_ways else []
    if isinstance(value, (list, tuple)) and action.nargs is None:
        joint = "x" if action.dest == "image_size" else ","
        return [f"{flag}={joint.join(map(str, value))}"]
    if isinstance(value, (list, tuple)):
        return [flag, *(str(item) for item in value)]
    return [f"{flag}={value}"]


def arguments_to_save(options: argparse.Namespace) -> dict:
    """The resolved flags as plain types for `args.yaml` and the checkpoint."""
    plain = {}
    for key, value in sorted(vars(options).items()):
        if key in NOT_SAVED:
            continue
        if isinstance(value, (list, tuple)):
            value = [_absolute(key, item) for item in value]
        plain[key] = value if isinstance(value, list) else _absolute(key, value)
    return plain


def _absolute(key: str, value: object) -> object:
    """A path as absolute text: the run may be looked at from another folder."""
    if isinstance(value, Path) or (key in MAY_BE_FILES and value and Path(value).exists()):
        return str(Path(value).absolute())
    return value


def _canonical(stage: str, options: argparse.Namespace) -> argparse.Namespace:
    """Spell names as the registries do, and settle what one flag says about another."""
    options.stage = stage
    options.model = _known("--model", options.model, MODELS)
    if options.dataset is None and options.datadir is not None:
        raise ValueError(
            f"--datadir {options.datadir} needs --dataset: VOC for your own images, or one of "
            f"{', '.join(DATASETS)}"
        )
    options.dataset = _known("--dataset", options.dataset or "Synthetic", DATASETS)
    if options.width is None:
        options.width = options.height
    for flag, side in (("--height", options.height), ("--width", options.width)):
        if side < MIN_SIDE:
            raise ValueError(f"{flag} {side}: networks need images of at least {MIN_SIDE} px")
    if options.scale[0] > options.scale[1]:
        least, most = options.scale
        raise ValueError(f"--scale {least} {most}: the smaller number comes first")
    if options.cuda and options.device == "cpu":
        raise ValueError("--cuda and --device cpu contradict each other: leave one of them out")
    if options.cuda and options.device is None:
        options.device = "cuda"
    if stage == "sekd":
        _settle_method(options)
    return options


def _settle_method(options: argparse.Namespace) -> None:
    """Turn the published loss flag into a method name; `--method` and it must not disagree."""
    published = options.knowledge_distillation_loss
    fusion = options.knowledge_distillation_feature_fusion
    named = PUBLISHED_LOSSES.get(published)
    if fusion is not None:
        if named != "transkd-base":
            raise ValueError(
                "--knowledge-distillation-feature-fusion belongs to "
                "--knowledge-distillation-loss hcl; other methods declare their own adapters"
            )
        named = {"CSF": "transkd-base", "ABF": "reviewkd"}[fusion]
    if named and options.method and named != options.method:
        raise ValueError(
            f"--knowledge-distillation-loss {published} means --method {named}, "
            f"not {options.method}: leave one of them out"
        )
    if options.teacher is not None and len(options.teacher) == 1:
        (options.teacher,) = options.teacher
    options.method = options.method or named or DEFAULT_METHOD
    # Kept as --method alone, so that a resumed run may name either spelling.
    options.knowledge_distillation_loss = options.knowledge_distillation_feature_fusion = None
    parts = [part.strip() for part in options.method.split("+")]
    if len(parts) > 1 and "none" in (part.lower() for part in parts):
        raise ValueError(f"--method {options.method}: none stands alone, it is no part of a sum")
    options.method = "+".join(_known("--method", part, (*METHODS, "none")) for part in parts)


def _known(flag: str, name: str, names: Sequence[str]) -> str:
    spellings = {known.lower(): known for known in names}
    if name.lower() not in spellings:
        raise ValueError(f"{flag} {name or repr(name)} is unknown; known: {', '.join(names)}")
    return spellings[name.lower()]


def training_image_size(options: argparse.Namespace) -> int | tuple[int, int] | None:
    """What `--image-size` means: None for native, a short side, or (height, width), in px."""
    if options.image_size is None:
        return min(options.height, options.width)
    return None if options.image_size == "native" else options.image_size
