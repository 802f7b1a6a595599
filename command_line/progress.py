"""Progress of long work: a bar on a terminal, a line every few seconds in a log file."""

import sys
import time
from typing import Self, TextIO

from tqdm import tqdm

LINE_SECONDS = 10  # between two lines, and later a hundredth of the time that has passed


class Lines:
    """The part of tqdm's interface that commands use, for output that is not a terminal.

    Prints nothing for work that takes less than `LINE_SECONDS`.
    """

    def __init__(self, description: str, unit: str, total: int | None, initial: int = 0) -> None:
        self.description, self.unit, self.total = description, unit, total
        self.initial = self.done = initial
        self.postfix = ""
        self.started = self.printed = time.monotonic()

    def update(self, count: int = 1) -> None:
        """Count units that are done; print a line if the last one is old enough."""
        self.done += count
        now = time.monotonic()
        if now - self.printed >= max(LINE_SECONDS, (now - self.started) / 100):
            self.printed = now
            self.write(self.line(now - self.started))

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """End the lines that follow with `text`."""
        self.postfix = f", {text}" if text else ""

    def line(self, seconds: float) -> str:
        """Say how many units are done after `seconds`, and how long the others will take."""
        if not self.total:
            return f"{self.description}: {self.done} {self.unit}s{self.postfix}"
        left = seconds * (self.total - self.done) / max(1, self.done - self.initial)
        share = f"{self.done} of {self.total} {self.unit}s"
        return f"{self.description}: {share}, {tqdm.format_interval(left)} left{self.postfix}"

    def write(self, text: str, file: TextIO | None = None) -> None:
        """Print a line, by default on stderr."""
        print(text, file=file or sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def progress(
    description: str,
    unit: str,
    total: int | None = None,
    hidden: bool = False,
    initial: int = 0,
) -> tqdm | Lines:
    """Show progress on stderr, by a bar if it is a terminal; `update()` it once per unit.

    Args:
        description: what is done, such as "evaluate".
        unit: what is counted, in the singular.
        total: number of units, if it is known.
        hidden: show nothing, as in all processes but the first.
        initial: units that were done before.
    """
    if hidden or sys.stderr.isatty():
        return tqdm(
            desc=description,
            unit=unit,
            total=total,
            initial=initial,
            leave=False,
            disable=hidden,
            dynamic_ncols=True,
        )
    return Lines(description, unit, total, initial)
