"""A study: its runs, each with several seeds, and what they are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run with one seed.

    Attributes:
        run: name of the run in the recipe, with the values of its grid.
        family: that name without them.
        place: its flags and values in the grid.
        seed: of everything random in it.
        stage: teacher, student or sekd.
        words: command line of the stage's script.
        folder: where the run is.
        results: where its scores are: the same folder, or one of small files that outlives it.
        teachers: folders of the recipe's jobs that have to end first.
        steps: optimizer steps, None where epochs say how long it lasts.
        images_per_step: of one process.
        settings: all flags, as `args.yaml` holds them.
    """

    run: str
    family: str
    place: tuple[tuple[str, Any], ...]
    seed: int
    stage: str
    words: tuple[str, ...]
    folder: Path
    results: Path
    teachers: tuple[Path, ...]
    steps: int | None
    images_per_step: int
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Study:
    """A recipe that was read and checked.

    Attributes:
        path: of the recipe.
        jobs: all runs with all seeds, in the recipe's order.
        score: split that last weights are scored on, None for the data set's own.
        baseline: run that the others are compared with, None for no comparison.
        baselines: runs that are compared with another one than that, and with which.
    """

    path: Path
    jobs: tuple[Job, ...]
    score: str | None
    baseline: str | None
    baselines: Mapping[str, str] = field(default_factory=dict)

    def baseline_of(self, run: str) -> str | None:
        """Name the run that this one is compared with, None for no comparison."""
        baseline = self.baselines.get(run, self.baseline)
        return None if baseline == run else baseline

    @property
    def axis(self) -> str | None:
        """Name the flag of numbers that alone makes up all grids, None where there is none."""
        places = [dict(job.place) for job in self.jobs if job.place]
        flags = {tuple(place) for place in places}
        if len(flags) != 1 or len(flag := flags.pop()) != 1:
            return None
        values = {place[flag[0]] for place in places}
        numbers = all(type(value) in (int, float) for value in values)  # True is an int as well
        return flag[0] if numbers and len(values) > 1 else None

    @property
    def runs(self) -> dict[str, list[Job]]:
        """Jobs by run."""
        runs: dict[str, list[Job]] = {}
        for job in self.jobs:
            runs.setdefault(job.run, []).append(job)
        return runs
