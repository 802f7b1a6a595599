"""Loss terms, image counts and times, accumulated over an epoch."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


class NonFiniteLossError(ValueError):
    """A loss term became infinite or NaN; continuing would destroy the weights."""


@dataclass
class Tally:
    """Sums and counts over an epoch, which a resumed run continues.

    Attributes:
        sums: per loss term.
        count: batches in these sums.
        skipped: optimizer steps skipped because of an fp16 overflow.
        replaced: unreadable images that were replaced by others.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    skipped: int = 0
    replaced: int = 0


@dataclass
class Meter:
    """Mean loss terms and speed over one epoch, with few transfers from the device."""

    tally: Tally = field(default_factory=Tally)
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    latest: dict[str, float] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Store a step's terms without waiting for the device."""
        self.pending.append((step, {name: value.detach() for name, value in terms.items()}))

    def read(self) -> None:
        """Fetch the stored terms from the device.

        Raises:
            NonFiniteLossError: a term is not finite; names the step and the term.
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
        """The latest terms, learning rate and speed, for a progress bar."""
        terms = " ".join(f"{name} {value:.3f}" for name, value in self.latest.items())
        return (
            f"{terms} | lr {learning_rate:.1e} | {self.images_per_second:.1f} img/s | "
            f"data {self.waiting_share:.0%}"
        )

    @property
    def images_per_second(self) -> float:
        """Images per second over all processes, including the wait for data."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data, 0 to 1."""
        return self.waiting / self.seconds if self.seconds else 0.0


def _check_finite(step: int, values: dict[str, float]) -> None:
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        # "loss" is the sum of the terms: name the term that caused it.
        term = next((name for name in broken if name != "loss"), "loss")
        raise NonFiniteLossError(
            f"step {step}: loss term '{term}' is {values[term]}; nothing was saved after it. "
            "Try a lower --lr, --clip-grad 1, or --amp none"
        )
