"""Progress of long work: a bar on a terminal, a line every few seconds in a log file."""

import sys
import time
from typing import Self, TextIO

from tqdm import tqdm

LINE_SECONDS = 10  # between two lines; later a hundredth of the elapsed time


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
        """Count finished units; print a line if the last one is old enough."""
        self.done += count
        now = time.monotonic()
        if now - self.printed >= max(LINE_SECONDS, (now - self.started) / 100):
            self.printed = now
            self.write(self.line(now - self.started))

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Append `text` to subsequent lines."""
        self.postfix = f", {text}" if text else ""

    def line(self, seconds: float) -> str:
        """Format how many units are done after `seconds`, and the estimated time left."""
        if not self.total:
            return f"{self.description}: {self.done} {self.unit}s{self.postfix}"
        total = max(self.total, self.done)  # the total may be an estimate
        left = seconds * (total - self.done) / max(1, self.done - self.initial)
        share = f"{self.done} of {total} {self.unit}s"
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
    """Show progress on stderr, as a bar if it is a terminal; call `update()` once per unit.

    Args:
        description: name of the work, such as "evaluate".
        unit: what is counted, in the singular.
        total: number of units, if it is known.
        hidden: show nothing, e.g. in all processes but the first.
        initial: units already done.
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
