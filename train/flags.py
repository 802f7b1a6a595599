"""Every flag of the three training scripts, in groups, with its help.

All flags of the published scripts are among them, so that published command lines run as printed.
"""

import argparse
from pathlib import Path

from command_line.arguments import (
    decay,
    default_workers,
    factor,
    image_size,
    non_negative_integer,
    non_negative_number,
    positive_integer,
    positive_number,
    probability,
    switch,
)
from command_line.cli import OneLineParser
from datasets import DATASETS
from losses import METHODS
from losses.declaration import DIVERGENCES, NORM_TYPES
from models import MODELS

PUBLISHED_LOSSES = {
    "MultiScaleContextAlignmentDistillationLoss": "sekd-ct",
    "SelfSupervisedDistillationLoss": "sekd-su",
    "FeatureAlignmentLoss": "sekd-fa",
    "hcl": "transkd-base",
    "CWloss": "transkd-cwd",
    "KL": "kd",
}
LABEL_LOSSES = ("ce", "ce+jaccard", "ce+lovasz", "ohem")
PRECISIONS = ("auto", "none", "bf16", "fp16")

DESCRIPTIONS = {
    "teacher": "Train a teacher network with labels.",
    "student": "Train a student network with labels alone, to compare a distilled one with.",
    "sekd": "Distil a teacher into a student, by any method of --method.",
}

# What --help shows; --help-all shows every flag.
FIRST = (
    "--run-name", "--resume", "--config", "--seed", "--model", "--pretrained", "--dataset",
    "--datadir", "--classes", "--height", "--image-size", "--num-epochs", "--max-steps",
    "--batch-size", "--lr", "--class-weights", "--device",
)  # fmt: skip


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the default of a flag that has one, unless its help says what happens without it."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default is None or "(default: " in action.help:
            return action.help
        return super()._get_help_string(action)


def build_parser(stage: str) -> OneLineParser:
    """The parser of a stage, flags in groups."""
    parser = OneLineParser(
        description=DESCRIPTIONS[stage],
        allow_abbrev=False,
        formatter_class=HelpFormatter,
    )
    _add_run_flags(parser.add_argument_group("run"))
    _add_model_flags(parser.add_argument_group("model"))
    _add_data_flags(parser.add_argument_group("data"))
    _add_optimisation_flags(parser.add_argument_group("optimisation"))
    _add_logging_flags(parser.add_argument_group("validation and logging"))
    if stage == "sekd":
        _add_distillation_flags(parser.add_argument_group("distillation"))
    parser.show_first(*FIRST, *(("--teacher", "--method") if stage == "sekd" else ()))
    return parser


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--savedir", type=Path, default=Path("runs"), help="folder that holds the run folders")
    add_switch(group, "--savedate", False, "end the run folder's name with date and time")
    add("--run-name", help="name of the run folder, instead of stage-model-dataset-method")
    add("--overwrite", action="store_true", help="replace a run that is already in the folder")
    add(
        "--resume",
        "--continue-path",
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
        help="weights for the encoder: fields, which come with the project and have seen drawn "
        "crop fields only; a file, a folder or a Hugging Face id; without a value, the model's "
        "file in ckpt_pretrained/",
    )


def _add_data_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--dataset", help=f"one of {', '.join(DATASETS)} (default, without --datadir: Synthetic)")
    add("--datadir", type=Path, help="folder of the data set (not needed for Synthetic)")
    add("--classes", help="class names of your own data in VOC layout: a,b,c or a text file")
    add("--train-split", help="split to train on (default: the data set's)")
    add("--val-split", help="split that best.pth is chosen on (default: the data set's)")
    add("--test-split", help="split to evaluate once, at the end, with best.pth")
    add("--height", type=positive_integer, default=512, help="height of a training crop in px")
    add("--width", type=positive_integer, help="width of a training crop (default: --height)")
    add(
        "--image-size",
        type=image_size,
        help="size images are brought to for validation and before random scaling: native, a "
        "short side in px, or HEIGHTxWIDTH (default: a short side of min(--height, --width))",
    )
    add("--scale", type=positive_number, nargs=2, default=[0.5, 2.0], help="random scale range")
    add("--flip", action=argparse.BooleanOptionalAction, default=True, help="random mirror image")
    add("--rotate", type=non_negative_number, default=0.0, help="random rotation, +- degrees")
    add("--shift", type=non_negative_integer, default=0, help="random shift, +- px")
    add(
        "--cutmix",
        type=probability,
        default=0.0,
        help="probability, per image, of a rectangle from another image of the batch",
    )
    add(
        "--copy-paste",
        type=probability,
        default=0.0,
        help="probability, per image, of the plants of another image of the batch: all classes but "
        "the first",
    )
    add(
        "--photometric",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="random brightness, contrast, saturation and hue",
    )
    add(
        "--num-workers",
        type=non_negative_integer,
        default=default_workers(),
        help="processes that read data",
    )
    add(
        "--cache",
        choices=("none", "ram"),
        default="none",
        help="ram: decode every image once and keep it in memory",
    )
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
    add("--batch-size", type=positive_integer, default=4, help="images per step and process")
    add("--accumulate", type=positive_integer, default=1, help="batches per optimizer step")
    add("--lr", type=positive_number, default=6e-5, help="peak learning rate of AdamW")
    add(
        "--head-lr",
        type=positive_number,
        default=1.0,
        help="factor on --lr for the decode head; SegFormer's own training takes 10",
    )
    add(
        "--layer-decay",
        type=factor,
        default=1.0,
        help="factor on the learning rate from each block of the encoder to the one before, for "
        "pretrained encoders; 0.75 to 0.95 are common",
    )
    add(
        "--loss",
        choices=LABEL_LOSSES,
        default="ce",
        help="loss on labels: cross-entropy; with soft Jaccard or Lovász added; or cross-entropy "
        "of the hard pixels (ohem)",
    )
    add(
        "--ema",
        type=decay,
        help="decay of a moving average of the weights, such as 0.999, which is then what is "
        "validated, saved as the network and deployed; it warms up in the first steps",
    )
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
        choices=PRECISIONS,
        default="auto",
        help="mixed precision; auto is bf16 on a GPU that has it, else none",
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compile networks and losses with torch.compile",
    )
    add(
        "--sync-bn",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="BatchNorm over the images of all processes; needs GPUs",
    )
    add(
        "--tf32",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="let a GPU round float32 matrix products to TF32",
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
    add_switch(group, "--visualize_outimages", False, "draw augmented training images too")


def _add_distillation_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--teacher",
        nargs="+",
        help="teacher checkpoint: file, folder or Hugging Face id; of several, the mean of their "
        "probabilities is distilled",
    )
    add_switch(group, "--teacher-val", True, "measure the teacher's mIoU before training")
    add(
        "--teacher-amp",
        choices=PRECISIONS,
        default="auto",
        help="mixed precision of the teacher alone; auto is that of --amp",
    )
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
    add(
        "--kd-alpha",
        type=non_negative_number,
        default=1.0,
        help="accepted from published commands, without effect: no published script reads it",
    )
    add(
        "--kd-weight",
        type=non_negative_number,
        default=1.0,
        help="factor on all terms of the method, beside the cross-entropy",
    )
    add(
        "--kd-warmup",
        type=non_negative_integer,
        default=0,
        help="steps in which the method's terms grow to their full weight",
    )
    add(
        "--temperature",
        "--kd-tau",
        type=positive_number,
        help="softmax temperature (default: each method's own)",
    )
    add(
        "--norm-type",
        choices=NORM_TYPES,
        default="channel",
        help="cwd: what is normalised to a distribution",
    )
    add(
        "--divergence",
        nargs="?",
        const="kl",
        default="kl",
        choices=DIVERGENCES,
        help="cwd: how distributions are compared",
    )
    add(
        "--review-kd-loss-weight",
        type=non_negative_number,
        default=1.0,
        help="weight of the hierarchical context loss (reviewkd, transkd)",
    )
    add(
        "--lambda-cwd",
        type=non_negative_number,
        default=0.3,
        help="weight of cwd; 0.3 suits SegFormer, 3 convolutional networks",
    )
    add(
        "--lambda-cwd-features",
        type=non_negative_number,
        default=5.0,
        help="weight of cwd-features",
    )
    add(
        "--standardize-logits",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compare z-scores of logits over classes: kd, cwd, dist, bpkd",
    )
    add(
        "--review-width",
        type=positive_integer,
        default=64,
        help="reviewkd: channels in which stages are fused; its authors take 256 to 512",
    )
    add(
        "--embed-weights",
        type=non_negative_number,
        nargs=4,
        default=[0.1, 0.1, 0.5, 1.0],
        help="transkd: weights of the four embedding stages",
    )
    add(
        "--embed",
        type=int,
        default=5,
        choices=range(6),
        help="embedding stages that take part: 0 none, 1 to 4 that one, 5 all",
    )
    add(
        "--gl-residual",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="transkd-gl: add the embedding to what the GL-Mixer makes of it",
    )


def add_switch(group: argparse._ArgumentGroup, flag: str, default: bool, text: str) -> None:
    """A published switch: stands alone or with true/false, as both occur in command lines."""
    group.add_argument(
        flag, nargs="?", const=True, default=default, type=switch, metavar="BOOL", help=text
    )


def _path_or_off(text: str) -> str | None:
    """Published scripts spell 'no pretrained weights' as False and 'the usual file' as True."""
    return {"false": None, "true": "auto"}.get(text.lower(), text)
