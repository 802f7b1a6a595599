"""Options of the training data and its preprocessing."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from command_line.arguments import (
    default_workers,
    image_size,
    non_negative_integer,
    non_negative_number,
    positive_integer,
    positive_number,
    probability,
)
from datasets import DATASETS
from train.options.flag import find_name, flag, two_way

MIN_SIDE = 32
NOT_FOR_PAPER = ("image_size", "scale", "flip", "rotate", "shift", "photometric")


@dataclass(frozen=True)
class DataOptions:
    """The data set, its splits and transforms. `settled` sets `dataset` and `width` if None."""

    dataset: str = flag(
        f"one of {', '.join(DATASETS)} (default, without --datadir: Synthetic)",
    )
    datadir: Path | None = flag("folder of the data set (not needed for Synthetic)", type=Path)
    classes: str | None = flag(
        "class names of your own data in VOC layout: a,b,c or a text file", may_be_file=True
    )
    train_split: str | None = flag("split to train on (default: the data set's)")
    val_split: str | None = flag("split that best.pth is chosen on (default: the data set's)")
    test_split: str | None = flag("split to evaluate once, at the end, with best.pth")
    height: int = flag("height of a training crop in px", default=512, type=positive_integer)
    width: int = flag("width of a training crop (default: --height)", type=positive_integer)
    image_size: str | int | tuple[int, int] | None = flag(
        "size images are brought to for validation and before random scaling: native, a "
        "short side in px, or HEIGHTxWIDTH (default: a short side of min(--height, --width))",
        type=image_size,
    )
    scale: tuple[float, float] = flag(
        "random scale range", default=(0.5, 2.0), type=positive_number, nargs=2
    )
    flip: bool = two_way("random mirror image", default=True)
    rotate: float = flag("random rotation, +- degrees", default=0.0, type=non_negative_number)
    shift: int = flag("random shift, +- px", default=0, type=non_negative_integer)
    cutmix: float = flag(
        "probability, per image, of a rectangle from another image of the batch",
        default=0.0,
        type=probability,
    )
    copy_paste: float = flag(
        "probability, per image, of the plants of another image of the batch: all classes but "
        "the first",
        default=0.0,
        type=probability,
    )
    photometric: bool = two_way("random brightness, contrast, saturation and hue", default=True)
    num_workers: int = flag(
        "processes that read data", default=default_workers(), type=non_negative_integer
    )
    cache: Literal["none", "ram"] = flag(
        "ram: decode every image once and keep it in memory",
        default="none",
        choices=("none", "ram"),
    )
    on_bad_sample: Literal["error", "skip"] = flag(
        "training image or label that cannot be read: error ends the run; skip takes the next one "
        "and counts. Validation never skips: scores would be of other images",
        default="error",
        choices=("error", "skip"),
    )
    limit_train: int | None = flag("use only the first N training images", type=positive_integer)
    limit_val: int | None = flag("use only the first N validation images", type=positive_integer)
    protocol: Literal["standard", "paper"] = flag(
        "paper: the preprocessing and quarter-size metric of the published numbers",
        default="standard",
        choices=("standard", "paper"),
    )

    def settled(self) -> "DataOptions":
        """Return a copy with the registry's spelling and with defaults that depend on other flags.

        Raises:
            ValueError: an unknown name, or values that contradict each other.
        """
        if self.dataset is None and self.datadir is not None:
            raise ValueError(
                f"--datadir {self.datadir} needs --dataset: VOC for your own images, or one of "
                f"{', '.join(DATASETS)}"
            )
        dataset = find_name("--dataset", self.dataset or "Synthetic", DATASETS)
        width = self.height if self.width is None else self.width
        for name, side in (("--height", self.height), ("--width", width)):
            if side < MIN_SIDE:
                raise ValueError(f"{name} {side}: networks need images of at least {MIN_SIDE} px")
        if self.skips_bad and self.cache == "ram":
            raise ValueError("--cache ram reads all images before: leave out --on-bad-sample skip")
        if self.protocol == "paper" and (self.cutmix or self.copy_paste):
            mixing = "--cutmix" if self.cutmix else "--copy-paste"
            raise ValueError(
                f"{mixing} needs labels of the images' size, and --protocol paper makes them "
                "a quarter of it: leave one of the two out"
            )
        least, most = self.scale
        if least > most:
            raise ValueError(f"--scale {least} {most}: the smaller number comes first")
        return replace(self, dataset=dataset, width=width)

    @property
    def skips_bad(self) -> bool:
        """Whether training skips images and labels that cannot be read."""
        return self.on_bad_sample == "skip"

    @property
    def evaluation_size(self) -> int | tuple[int, int] | None:
        """Evaluation size: None for native, the short side, or (height, width), in px."""
        if self.image_size is None:
            return min(self.height, self.width)
        return None if isinstance(self.image_size, str) else self.image_size

    @property
    def unread_by_paper(self) -> list[str]:
        """Flags that differ from their defaults and that `--protocol paper` ignores."""
        defaults = {each.name: each.default for each in fields(self)}
        given = [name for name in NOT_FOR_PAPER if getattr(self, name) != defaults[name]]
        return [f"--{name.replace('_', '-')}" for name in given]
