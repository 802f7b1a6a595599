"""Damaged files by the thousand, in processes that may hang or crash alone."""

import json
import os
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tests.soak.commands import PATIENCE, fork
from tests.soak.doors import Door, doors

BATCH = 1000  # inputs per process
READ, REFUSED, RAW = "read", "refused in one line", "raw errors"


class Damage:
    """`count` damaged files, each at the door that its number draws; iterated, it tries them.

    Attributes:
        counts: what became of them.
    """

    def __init__(self, folder: Path, checkpoint: Path, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.doors = doors(folder, checkpoint)
        self.results, self.output = folder / "results.jsonl", folder / "inputs.txt"
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[int]:
        """Yield how many have been tried since the last time."""
        number = 0
        while number < self.count:
            tried = self._try_batch(range(number, min(number + BATCH, self.count)))
            number += tried
            yield tried

    def _try_batch(self, numbers: range) -> int:
        self.results.write_bytes(b"")
        process = fork(lambda _: self._try_all(numbers), self.output)
        done, status = -1, None
        while status is None and done < (done := len(self._lines())):
            status = process.wait(PATIENCE)
        lines = self._lines()
        for name, kind, seconds, megabytes, word in map(json.loads, lines):
            self.counts.update((kind, name, "inputs"))
            self._note_most("seconds of the slowest", round(seconds, 1))
            self._note_most("MB at most", megabytes)
            if word:
                print(word, flush=True)
        if "Traceback" in process.said:
            self.counts["tracebacks"] += 1
            print(process.said, flush=True)
        if status == 0:
            return len(numbers)
        if status is None:
            process.end()
        kind = "hangs" if status is None else "crashes"
        self.counts.update((kind, "inputs"))
        number = numbers[len(lines)]
        print(f"{self._door(number)[0]} {number}: {kind}, status {status}", flush=True)
        return len(lines) + 1

    def _lines(self) -> list[str]:
        return self.results.read_text().splitlines()

    def _note_most(self, name: str, value: float) -> None:
        self.counts[name] = max(self.counts[name], value)

    def _door(self, number: int) -> tuple[str, Door, random.Random]:
        draw = random.Random(f"{self.seed} {number}")
        (name,) = draw.choices([*self.doors], [share for share, _ in self.doors.values()])
        return name, self.doors[name][1], draw

    def _try_all(self, numbers: range) -> NoReturn:
        with self.results.open("a", buffering=1) as results:
            for number in numbers:
                name, door, draw = self._door(number)
                began = time.monotonic()
                kind, word = attempt(door, draw)
                word = word and f"{name} {number}: {word}"
                megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                line = [name, kind, time.monotonic() - began, megabytes, word]
                results.write(json.dumps(line) + "\n")
        os._exit(0)


def attempt(door: Door, draw: random.Random) -> tuple[str, str]:
    """What became of one damaged file, and what is wrong with that."""
    try:
        door(draw)
    except (ValueError, OSError) as error:
        return (REFUSED, "") if str(error) else (RAW, "refused without a word")
    except SystemExit as ended:
        return (REFUSED, "") if ended.code in (1, 2) else (RAW, f"status {ended.code}")
    except Exception as error:
        *_, place = traceback.extract_tb(error.__traceback__)
        return RAW, f"{error!r} at {place.filename}:{place.lineno}"
    return READ, ""
