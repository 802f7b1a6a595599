"""Progress of long work: a bar on a terminal, a line every few seconds in a log file."""

import sys
import time
from typing import Self, TextIO

from tqdm import tqdm

LINE_SECONDS = 10


class Lines:
    """The part of tqdm's interface that commands use, for output that is not a terminal.

    Prints nothing for work that takes less than `LINE_SECONDS`.
    """

    def __init__(self, description: str, unit: str, total: int | None) -> None:
        self.description, self.unit, self.total = description, unit, total
        self.done = 0
        self.started = self.printed = time.monotonic()

    def update(self, count: int = 1) -> None:
        """Count units that are done; print a line if the last one is `LINE_SECONDS` old."""
        self.done += count
        now = time.monotonic()
        if now - self.printed >= LINE_SECONDS:
            self.printed = now
            self.write(self.line(now - self.started))

    def line(self, seconds: float) -> str:
        """Say how many units are done after `seconds`, and how long the others will take."""
        if not self.total:
            return f"{self.description}: {self.done} {self.unit}s"
        left = seconds * (self.total - self.done) / max(1, self.done)
        share = f"{self.done} of {self.total} {self.unit}s"
        return f"{self.description}: {share}, {tqdm.format_interval(left)} left"

    def write(self, text: str, file: TextIO | None = None) -> None:
        """Print a line, by default on stderr."""
        print(text, file=file or sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def progress(
    description: str, unit: str, total: int | None = None, hidden: bool = False
) -> tqdm | Lines:
    """Show progress on stderr, by a bar if it is a terminal; `update()` it once per unit.

    Args:
        description: what is done, such as "evaluate".
        unit: what is counted, in the singular.
        total: number of units, if it is known.
        hidden: show nothing, as in all processes but the first.
    """
    if hidden or sys.stderr.isatty():
        return tqdm(desc=description, unit=unit, total=total, leave=False, disable=hidden)
    return Lines(description, unit, total)
