"""A study: its runs, each with several seeds, and their baselines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run with one seed.

    Attributes:
        run: name of the run in the recipe, with its grid values.
        family: that name without them.
        place: its flags and values in the grid.
        seed: seed of everything random in it.
        stage: teacher, student or sekd.
        words: command-line arguments of the stage's script.
        folder: the run folder.
        results: folder of its scores: the run folder, or one for small files to keep.
        teachers: folders of the study's jobs that it is distilled from, which have to end first.
        steps: optimizer steps; None if its length is set in epochs.
        images_per_step: images per optimizer step of one process.
        settings: all flags, as in `args.yaml`.
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
    """A parsed and checked recipe.

    Attributes:
        path: file of the recipe.
        jobs: all runs with all seeds, in the recipe's order.
        score: split on which the last weights are scored; None for the data set's default.
        baseline: run that the others are compared with; None for no comparison.
        baselines: runs with another baseline than that, by name, and their baselines.
    """

    path: Path
    jobs: tuple[Job, ...]
    score: str | None
    baseline: str | None
    baselines: Mapping[str, str] = field(default_factory=dict)

    def baseline_of(self, run: str) -> str | None:
        """Name of the run that this one is compared with; None for no comparison."""
        baseline = self.baselines.get(run, self.baseline)
        return None if baseline == run else baseline

    @property
    def axis(self) -> str | None:
        """The numeric flag that is the only one in all grids; None if there is no such flag."""
        places = [dict(job.place) for job in self.jobs if job.place]
        flags = {tuple(place) for place in places}
        if len(flags) != 1 or len(flag := flags.pop()) != 1:
            return None
        values = {place[flag[0]] for place in places}
        numbers = all(type(value) in (int, float) for value in values)  # bool is an int too
        return flag[0] if numbers and len(values) > 1 else None

    @property
    def runs(self) -> dict[str, list[Job]]:
        """Jobs by run."""
        runs: dict[str, list[Job]] = {}
        for job in self.jobs:
            runs.setdefault(job.run, []).append(job)
        return runs
