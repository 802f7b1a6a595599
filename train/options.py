"""The flags of the three training scripts.

Sources, later ones winning: the defaults below, the run being resumed, a YAML recipe
(`--config`), the command line. The resolved set is saved with the run as `args.yaml`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from datasets import DATASETS
from losses import METHODS
from models import MODELS
from train.checkpoint import read_arguments
from train.run_folder import LAST, find_run

PUBLISHED_LOSSES = {
    "MultiScaleContextAlignmentDistillationLoss": "sekd-ct",
    "SelfSupervisedDistillationLoss": "sekd-su",
    "FeatureAlignmentLoss": "sekd-fa",
    "hcl": "transkd-base",
    "CWloss": "cwd",
}
DEFAULT_METHOD = "sekd-ct"
NOT_SAVED = ("stage", "resume", "config", "overwrite")


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose error is one line, without the page of usage above it."""

    def error(self, message: str) -> None:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


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
        arguments = to_arguments(parser, read_recipe(options.config), options.config) + arguments
        options = parser.parse_args(arguments)
    if options.resume is not None:
        options = _canonical(stage, options)
        source = Path(options.resume) if options.resume else find_run(options) / LAST
        saved = read_arguments(source)
        if saved.pop("stage", stage) != stage:
            raise ValueError(f"--resume {source} is a run of another stage than train_{stage}.py")
        options = parser.parse_args(to_arguments(parser, saved, source) + arguments)
        options.resume = source
    return _canonical(stage, options)


def build_parser(stage: str) -> OneLineParser:
    """The parser of a stage, flags in groups."""
    parser = OneLineParser(
        description=f"Train: {stage}.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_run_flags(parser.add_argument_group("run"))
    _add_model_flags(parser.add_argument_group("model"))
    _add_data_flags(parser.add_argument_group("data"))
    _add_optimisation_flags(parser.add_argument_group("optimisation"))
    _add_logging_flags(parser.add_argument_group("validation and logging"))
    if stage == "sekd":
        _add_distillation_flags(parser.add_argument_group("distillation"))
    return parser


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
        words += _spell(action, value)
    return words


def _spell(action: argparse.Action, value: object) -> list[str]:
    flag = action.option_strings[0]
    if value is None:
        return []
    if isinstance(action, argparse.BooleanOptionalAction):
        return [flag if value else action.option_strings[1]]
    if action.nargs == 0:
        return [flag] if value else []
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
            value = list(value)
        elif isinstance(value, Path):
            value = str(value)
        plain[key] = value
    return plain


def _canonical(stage: str, options: argparse.Namespace) -> argparse.Namespace:
    """Spell names as the registries do, and settle what one flag says about another."""
    options.stage = stage
    options.model = _known("--model", options.model, MODELS)
    options.dataset = _known("--dataset", options.dataset, DATASETS)
    if options.width is None:
        options.width = options.height
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
    options.method = options.method or named or DEFAULT_METHOD
    # Kept as --method alone, so that a resumed run may name either spelling.
    options.knowledge_distillation_loss = options.knowledge_distillation_feature_fusion = None
    if options.method != "none":
        parts = options.method.split("+")
        options.method = "+".join(_known("--method", part, METHODS, "none") for part in parts)


def _known(flag: str, name: str, names: Sequence[str], *more: str) -> str:
    spellings = {known.lower(): known for known in names}
    if name.lower() not in spellings:
        raise ValueError(f"{flag} {name} is unknown; known: {', '.join([*names, *more])}")
    return spellings[name.lower()]


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--savedir", type=Path, default=Path("runs"), help="folder that holds the run folders")
    add_switch(group, "--savedate", False, "end the run folder's name with date and time")
    add("--run-name", help="name of the run folder, instead of stage-model-dataset-method")
    add("--overwrite", action="store_true", help="replace a run that is already in the folder")
    add(
        "--resume",
        nargs="?",
        const="",
        help="continue the run in its folder, or from the given checkpoint file",
    )
    add("--config", type=Path, help="YAML recipe of flags; the command line overrides it")
    add("--seed", type=non_negative_integer, default=0, help="seed of everything random")


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help=f"network to train: {', '.join(MODELS)}")
    group.add_argument(
        "--pretrained",
        "--student-pretrained",
        nargs="?",
        const="auto",
        type=_path_or_off,
        help="ImageNet weights for the encoder: a file, a folder or a Hugging Face id; without a "
        "value, the model's file in ckpt_pretrained/",
    )


def _add_data_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--dataset", default="Synthetic", help=f"one of {', '.join(DATASETS)}")
    add("--datadir", type=Path, help="where the data set lies (not needed for Synthetic)")
    add("--classes", help="class names of your own data in VOC layout: a,b,c or a text file")
    add("--train-split", help="split to train on (default: the data set's)")
    add("--val-split", help="split that best.pth is chosen on (default: the data set's)")
    add("--test-split", help="split to evaluate once, at the end, with best.pth")
    add("--height", type=positive_integer, default=512, help="height of a training crop in px")
    add("--width", type=positive_integer, help="width of a training crop (default: --height)")
    add(
        "--image-size",
        default="auto",
        type=_image_size,
        help="size images are brought to for validation and before random scaling: native, a "
        "short side in px, or HEIGHTxWIDTH; auto is a short side of min(--height, --width)",
    )
    add("--scale", type=positive_number, nargs=2, default=[0.5, 2.0], help="random scale range")
    add("--flip", action=argparse.BooleanOptionalAction, default=True, help="random mirror image")
    add("--rotate", type=non_negative_number, default=0.0, help="random rotation, +- degrees")
    add("--shift", type=non_negative_integer, default=0, help="random shift, +- px")
    add(
        "--photometric",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="random brightness, contrast, saturation and hue",
    )
    add("--num-workers", type=non_negative_integer, default=4, help="processes that read data")
    add("--limit-train", type=positive_integer, help="use only the first N training images")
    add("--limit-val", type=positive_integer, help="use only the first N validation images")
    add(
        "--protocol",
        choices=("standard", "paper"),
        default="standard",
        help="paper: the preprocessing and quarter-size metric of the published numbers",
    )


def _add_optimisation_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--num-epochs", type=positive_integer, default=500, help="passes over the training split")
    add("--max-steps", type=positive_integer, help="end after N optimizer steps instead")
    add("--batch-size", type=positive_integer, default=4, help="images a step and process")
    add("--accumulate", type=positive_integer, default=1, help="batches per optimizer step")
    add("--lr", type=positive_number, default=6e-5, help="peak learning rate of AdamW")
    add("--weight-decay", type=non_negative_number, default=0.01, help="of matrices, not of norms")
    add(
        "--warmup-steps",
        type=non_negative_integer,
        help="steps of linear warm-up (default: 5 %% of the run, at most 1500)",
    )
    add("--power", type=positive_number, default=1.0, help="of the polynomial decay to 0")
    add("--clip-grad", type=positive_number, help="largest norm of the gradient")
    add(
        "--class-weights",
        default="none",
        help="cross-entropy weights: auto (from class frequencies), none, numbers a,b,c or a file",
    )
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add_switch(group, "--cuda", False, "the same as --device cuda")
    add(
        "--amp",
        choices=("auto", "none", "bf16", "fp16"),
        default="auto",
        help="mixed precision; auto is bf16 on a GPU that has it, else none",
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compile networks and losses with torch.compile",
    )


def _add_logging_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add_switch(group, "--iouVal", True, "measure mIoU on the validation split; best.pth needs it")
    add_switch(group, "--iouTrain", False, "measure mIoU on the training split as well")
    add("--val-every", type=positive_integer, default=1, help="epochs between validations")
    add("--steps-loss", type=positive_integer, default=50, help="steps between logged losses")
    add("--epochs-save", type=non_negative_integer, default=0, help="keep every Nth epoch; 0: none")
    add_switch(group, "--visualize", False, "draw losses, mIoU and images in a Visdom server")
    add("--port", type=positive_integer, default=8097, help="port of the Visdom server")
    add("--steps-plot", type=positive_integer, default=50, help="steps between Visdom points")
    add_switch(group, "--visualize_outimages", False, "draw training batches in Visdom too")


def _add_distillation_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--teacher", help="teacher checkpoint: file, folder or Hugging Face id")
    add_switch(group, "--teacher-val", True, "measure the teacher's mIoU before training")
    add("--method", help=f"'+' joins several: {', '.join(METHODS)}, none (default: sekd-ct)")
    add(
        "--knowledge-distillation-loss",
        choices=tuple(PUBLISHED_LOSSES),
        help="published name of a --method",
    )
    add(
        "--knowledge-distillation-feature-fusion",
        choices=("CSF", "ABF"),
        help="with --knowledge-distillation-loss hcl: CSF is transkd-base, ABF is reviewkd",
    )
    add("--kd-alpha", type=non_negative_number, default=1.0, help="weight of all method terms")
    add(
        "--temperature",
        "--kd-tau",
        type=positive_number,
        help="softmax temperature (default: each method's own)",
    )
    add(
        "--norm-type",
        choices=("channel", "spatial", "channel_mean"),
        default="channel",
        help="cwd: what is normalised to a distribution",
    )
    add(
        "--divergence",
        nargs="?",
        const="kl",
        default="kl",
        choices=("kl", "mse"),
        help="cwd: how distributions are compared",
    )
    add(
        "--review-kd-loss-weight",
        type=non_negative_number,
        default=1.0,
        help="weight of the hierarchical context loss (reviewkd, transkd)",
    )
    add("--lambda-cwd", type=non_negative_number, default=3.0, help="weight of cwd")
    add(
        "--embed",
        type=int,
        default=5,
        choices=range(6),
        help="embedding stages that take part: 0 none, 1 to 4 that one, 5 all",
    )


def add_switch(group: argparse._ArgumentGroup, flag: str, default: bool, text: str) -> None:
    """A published switch: stands alone or with true/false, as both occur in command lines."""
    group.add_argument(
        flag, nargs="?", const=True, default=default, type=_boolean, metavar="BOOL", help=text
    )


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not '{text}'")


def _path_or_off(text: str) -> str | None:
    """Published scripts spell 'no pretrained weights' as False and 'the usual file' as True."""
    return {"false": None, "true": "auto"}.get(text.lower(), text)


def _number(text: str, kind: type, smallest: float, exclusive: bool) -> float:
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {what}, not '{text}'") from None
    if not (value > smallest or (value == smallest and not exclusive)) or value == float("inf"):
        bound = "greater than" if exclusive else "at least"
        raise argparse.ArgumentTypeError(f"must be {bound} {smallest:g}, not {text}")
    return value


def positive_integer(text: str) -> int:
    """An argparse type: 1, 2, 3, ..."""
    return _number(text, int, 0, exclusive=True)


def non_negative_integer(text: str) -> int:
    """An argparse type: 0, 1, 2, ..."""
    return _number(text, int, 0, exclusive=False)


def positive_number(text: str) -> float:
    """An argparse type: a finite number above 0."""
    return _number(text, float, 0, exclusive=True)


def non_negative_number(text: str) -> float:
    """An argparse type: a finite number, 0 or above."""
    return _number(text, float, 0, exclusive=False)


def _image_size(text: str) -> str:
    """Check the spelling here; `image_size` below turns it into what the transforms read."""
    if text in ("auto", "native") or all(part.isdigit() for part in text.lower().split("x", 1)):
        return text.lower()
    raise argparse.ArgumentTypeError(f"expected native, 512 or 480x640, not '{text}'")


def image_size(options: argparse.Namespace) -> int | tuple[int, int] | None:
    """What `--image-size` means: None for native, a short side, or (height, width), in px."""
    if options.image_size == "native":
        return None
    if options.image_size == "auto":
        return min(options.height, options.width)
    sides = [int(side) for side in options.image_size.split("x")]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])
