"""Speed and memory bars that this project must meet, as ratios measured in one run."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

Record = dict[str, Any]

OURS = "this project"
LIBRARIES = ("transformers", "segmentation_models_pytorch")
GIGABYTE = 1e9


def ratio_of(one: Record, other: Record, quantity: str) -> float:
    """Return the ratio of a quantity of one record to that of the other.

    For times it is the median of the per-round ratios: a slowdown of a few seconds affects a whole
    round.
    """
    if quantity != "seconds" or "each" not in one:
        return one[quantity] / other[quantity]
    rounds = zip(one["each"], other["each"], strict=True)
    return statistics.median(mine / theirs for mine, theirs in rounds)


class Bar(NamedTuple):
    """One bar: a quantity of a contender, compared with that of others.

    Attributes:
        title: name of the bar in tables.
        part: part of the benchmark that measures it.
        case: the workload.
        contender: the implementation that the bar is for.
        against: those that it is compared with, the best if several; empty for an absolute bar.
        quantity: "seconds" or "peak_bytes".
        at_least: factor by which it must beat the others; None if `at_most` is set.
        at_most: maximum ratio to the others, or maximum in gigabytes.
    """

    title: str
    part: str
    case: str
    contender: str
    against: tuple[str, ...]
    quantity: str
    at_least: float | None = None
    at_most: float | None = None

    def measured(self, records: Sequence[Record]) -> float | None:
        """Return the ratio, or gigabytes; None if it is not in the records."""
        found = {
            record["contender"]: record
            for record in records
            if record["part"] == self.part
            and record["case"] == self.case
            and self.quantity in record
        }
        others = [found[name] for name in self.against if name in found]
        if self.contender not in found or (self.against and not others):
            return None
        ours = found[self.contender]
        if not self.against:
            return ours[self.quantity] / GIGABYTE
        ratio = max(ratio_of(ours, other, self.quantity) for other in others)
        return 1 / ratio if self.at_least is not None else ratio

    def holds(self, value: float | None) -> bool:
        """Return whether a measured value meets the bar; None does not."""
        if value is None:
            return False
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most

    @property
    def limit(self) -> str:
        """The bar in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g} times"
        return f"at most {self.at_most:g} {'times' if self.against else 'GB'}"


def _step(case: str) -> Bar:
    title = f"SEKD-CT step, SegFormer-B3 to B0, {case}, against its floor"
    case = f"SegformerB3 to SegformerB0, {case}"
    return Bar(title, "distillation", case, "sekd-ct", ("floor",), "seconds", at_most=1.25)


BARS = (
    Bar(
        "SegFormer-B3 inference, 2 x 512 x 512, against the faster library",
        "inference", "SegformerB3, 2 x 512 x 512", OURS, LIBRARIES, "seconds", at_least=1.6,
    ),
    Bar(
        "SegFormer-B0 training step, 2 x 512 x 512, against the faster library",
        "training", "SegformerB0, 2 x 512 x 512", OURS, LIBRARIES, "seconds", at_least=2,
    ),
    _step("2 x 512 x 512"),
    _step("4 x 256 x 256"),
    Bar(
        "texture term, forward and backward, against unfolded patches",
        "texture", "2 x 512 x 512", OURS, ("unfolded",), "seconds", at_least=5,
    ),
    Bar(
        "peak memory of the texture term, against unfolded patches",
        "texture", "2 x 512 x 512", OURS, ("unfolded",), "peak_bytes", at_most=0.25,
    ),
    Bar(
        "metric update, 1024 x 2048, 19 classes, against torchmetrics",
        "metric", "1024 x 2048, 19 classes", OURS, ("torchmetrics",), "seconds", at_least=1,
    ),
    Bar(
        "peak memory of the process, SEKD-CT step, 2 x 512 x 512",
        "distillation", "SegformerB3 to SegformerB0, 2 x 512 x 512", "sekd-ct", (), "peak_bytes",
        at_most=3,
    ),
)  # fmt: skip
