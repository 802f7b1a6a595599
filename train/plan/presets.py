"""Training budgets: presets by hardware, fitted to the size of the data."""

from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from datasets import DATASETS, SegmentationDataset, build_dataset
from models.shipped import NAME as SHIPPED
from train.options import Options
from train.options.data import MIN_SIDE

LOOKED_AT = 8  # approximate number of images whose size is read
VALIDATIONS = 10  # per run
IN_MEMORY = 1e9  # bytes of decoded training images up to which they are cached in memory
# SegFormer's learning rate is for ImageNet weights; ten times that suits random weights, and those
# pretrained on drawn fields only (results/cwfid-tuning.md). SegFormer needs no class weights, and a
# network that knows plants loses by them; without them, one that starts from random weights does
# not find rare classes within so few steps (results/camvid-tuning.md).
STARTS: dict[bool | str, dict[str, Any]] = {
    False: {"lr": 6e-4, "class-weights": "auto"},
    SHIPPED: {"lr": 6e-4, "pretrained": SHIPPED},
    True: {"lr": 6e-5, "head-lr": 10, "pretrained": True},
}


@dataclass(frozen=True)
class Preset:
    """A training budget for one kind of machine.

    Attributes:
        text: what it is for.
        teacher: the teacher's network.
        crop: side of a training crop, in px.
        side: short side to which larger images are resized, in px.
        epochs: passes over the training images, within the limits of `steps`.
        steps: minimum and maximum optimizer steps of each run.
        workers: data loading processes; None for one per CPU core, at most 4.
    """

    text: str
    teacher: str
    crop: int
    side: int
    epochs: int
    steps: tuple[int, int]
    workers: int | None = 1


PRESETS = {
    "laptop": Preset("a first result on a CPU", "SegformerB1", 256, 512, 150, (300, 1200)),
    "night": Preset("a night on a CPU", "SegformerB2", 384, 768, 300, (1200, 4000)),
    "gpu": Preset("a GPU", "SegformerB3", 512, 1024, 400, (4000, 40000), None),
}
CHEAPEST = "laptop"
BATCH = 4


@dataclass(frozen=True)
class Facts:
    """Image counts and sizes of the data set.

    Attributes:
        train: number of training images.
        val: number of validation images, on which best.pth is chosen.
        score: split on which the runs are compared.
        scored: number of images in that split.
        short_side: short side of an image, in px; the median of a few training images.
    """

    train: int
    val: int
    score: str
    scored: int
    short_side: int


def default_preset() -> str:
    """The preset for this machine."""
    return "gpu" if torch.cuda.is_available() else CHEAPEST


def look_at(options: Options) -> Facts:
    """Count the images of a run's splits, and read the sizes of a few.

    Raises:
        ValueError, OSError: errors of the data set.
    """
    data, known = options.data, DATASETS[options.data.dataset]

    def split(name: str) -> SegmentationDataset:
        return build_dataset(data.dataset, data.datadir, name, classes=data.classes)

    train = split(data.train_split or known.default_train_split)
    val = split(data.val_split or known.default_val_split)
    try:
        scored, score = split("test"), "test"
    except (ValueError, FileNotFoundError):  # no test split, or one published without labels
        scored, score = val, data.val_split or known.default_val_split
    step = max(1, len(train) // LOOKED_AT)
    sides = [min(train.read(index)[1].shape) for index in range(0, len(train), step)]
    return Facts(len(train), len(val), score, len(scored), int(median(sides)))


def fit(preset: Preset, facts: Facts, steps: int | None, pretrained: bool | str) -> dict[str, Any]:
    """The flags shared by all runs, spelled as in a recipe.

    Args:
        preset: the budget.
        facts: image counts and sizes of the data set.
        steps: optimizer steps of each run; None to derive them from preset and data.
        pretrained: initial weights, a key of `STARTS`: True for ImageNet's.
    """
    batch = min(BATCH, facts.train)
    per_epoch = max(1, facts.train // batch)
    fewest, most = preset.steps
    steps = steps or min(most, max(fewest, preset.epochs * per_epoch))
    side = min(facts.short_side, preset.side)
    crop = max(MIN_SIDE, min(preset.crop, side - side % MIN_SIDE))
    pixels = facts.train * 4 * facts.short_side**2  # bytes (RGB + label); 4 / 3 below is for 4:3
    recipe = {
        "height": crop,
        "image-size": "native" if facts.short_side <= preset.side else side,
        "batch-size": batch,
        "max-steps": steps,
        "val-every": max(1, round(steps / per_epoch / VALIDATIONS)),
        "cache": "ram" if pixels * 4 / 3 < IN_MEMORY else "none",
        **STARTS[pretrained],
    }
    return recipe if preset.workers is None else {**recipe, "num-workers": preset.workers}
