"""What an epoch's steps add up to: loss terms, images and seconds."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


class NonFiniteLossError(ValueError):
    """A loss term became infinite or not a number; going on would destroy the weights."""


@dataclass
class Tally:
    """What the steps of an epoch add up to; a resumed run goes on counting.

    Attributes:
        sums: of the loss terms.
        count: of the batches that they are of.
        skipped: optimizer steps that were left out because fp16 had overflowed.
        replaced: images that could not be read, and in whose place others were.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    skipped: int = 0
    replaced: int = 0


@dataclass
class Meter:
    """Means of the loss terms and rates of one epoch, read from the device in few transfers."""

    tally: Tally = field(default_factory=Tally)
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    latest: dict[str, float] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Remember a step's terms without waiting for the device."""
        self.pending.append((step, {name: value.detach() for name, value in terms.items()}))

    def read(self) -> None:
        """Fetch the remembered terms.

        Raises:
            NonFiniteLossError: naming the step and the term.
        """
        if not self.pending:
            return
        names = list(self.pending[0][1])
        rows = torch.stack([torch.stack(list(terms.values())) for _, terms in self.pending])
        for (step, _), row in zip(self.pending, rows.float().tolist(), strict=True):
            values = dict(zip(names, row, strict=True))
            _check_finite(step, values)
            self.tally.count += 1
            for name, value in values.items():
                self.tally.sums[name] = self.tally.sums.get(name, 0.0) + value
            self.latest = values
        self.pending.clear()

    def means(self) -> dict[str, float]:
        """Mean of each term over the steps read so far."""
        return {name: total / self.tally.count for name, total in self.tally.sums.items()}

    def describe(self, learning_rate: float) -> str:
        """The latest terms and the rates, for a progress bar."""
        terms = " ".join(f"{name} {value:.3f}" for name, value in self.latest.items())
        return (
            f"{terms} | lr {learning_rate:.1e} | {self.images_per_second:.1f} img/s | "
            f"data {self.waiting_share:.0%}"
        )

    @property
    def images_per_second(self) -> float:
        """Images per second of all processes, waiting for data included."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data, 0 to 1."""
        return self.waiting / self.seconds if self.seconds else 0.0


def _check_finite(step: int, values: dict[str, float]) -> None:
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        # The sum is broken by its terms: name the culprit, not the sum.
        term = next((name for name in broken if name != "loss"), "loss")
        raise NonFiniteLossError(
            f"step {step}: loss term '{term}' is {values[term]}; nothing was saved after it. "
            "Try a lower --lr, --clip-grad 1, or --amp none"
        )
