"""A study's recipe: which runs there are, and which of them need another one first.

A recipe is YAML:

    savedir: runs/study                   # every run is in <savedir>/<run>/seed<N>
    results: results/study                # and there its scores and log, without weights (optional)
    config: recipes/cwfid.yaml            # recipe of flags that all runs share (optional)
    flags: {max-steps: 4800}              # more of them (optional)
    seeds: [0, 1, 2]
    score: test                           # split that a run's last weights are scored on
    baseline: none                        # run that the others are compared with
    teacher: teacher                      # of every distilled run: a run of this recipe, or a file
    runs:
      teacher: {stage: teacher, model: SegformerB1, seeds: [0]}
      none: {stage: student, grid: {lr: [3.0e-4, 6.0e-4]}}
      kd: {kd-weight: 0.5}
      kd of many: {teacher: [none, teacher]}

A run named after a method is distilled by it; `stage`, `seeds`, `teacher`, `baseline` and `grid`
are settings of the study, and all else are flags of its training script. `grid` makes a run of each
combination; `baseline` names the run that this one is compared with, in place of the study's. A
baseline with the same grid is compared value by value. A run teaches with its first seed; a list of
teachers is an ensemble of all seeds of its runs.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from losses import METHODS
from train.arguments import FlagParser, parse_options, read_recipe

OF_A_RUN = ("stage", "seeds", "teacher", "baseline", "grid")
STAGES = ("teacher", "student", "sekd")
NAME = re.compile(r"[\w.+=, -]+")


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


@dataclass
class _Recipe:
    """The recipe as it is written, before runs are made of it."""

    path: Path
    savedir: Path
    results: Path
    runs: Mapping[str, Mapping[str, Any] | None]
    config: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    score: str | None = None
    baseline: str | None = None
    teacher: str | list[str] | None = None


@dataclass(frozen=True)
class _Run:
    """One run of the recipe: a family of runs at one place of its grid."""

    name: str
    family: str
    place: Mapping[str, Any]
    flags: Mapping[str, Any]


def read_study(path: Path, more: Mapping[str, Any] | None = None) -> Study:
    """Read a recipe and check every run's flags, before hours are spent on the first.

    Args:
        path: YAML file, see the module's text.
        more: flags of all runs that override the recipe's, such as ``datadir``.

    Raises:
        ValueError: naming the recipe, the run and the remedy.
        FileNotFoundError: there is no such file.
    """
    written = read_recipe(path)
    known = [setting.name for setting in fields(_Recipe) if setting.name != "path"]
    if unknown := sorted(set(written) - set(known)):
        raise ValueError(f"{path}: unknown setting '{unknown[0]}'; known: {', '.join(known)}")
    if not isinstance(written.get("runs"), dict) or "savedir" not in written:
        raise ValueError(f"{path}: a study needs 'savedir: FOLDER' and 'runs: {{NAME: FLAGS}}'")
    savedir = Path(written.pop("savedir"))
    results = Path(written.pop("results", savedir))
    recipe = _Recipe(path, savedir, results, **written)
    recipe.flags = {**recipe.flags, **(more or {})}
    runs = {run.name: run for run in _expanded(recipe)}
    jobs = tuple(
        _job(recipe, run, seed, runs)
        for run in runs.values()
        for seed in run.flags.get("seeds", recipe.seeds)
    )
    if recipe.baseline is not None:
        _known(recipe, recipe.baseline, runs)
    own = {
        run.name: _known(recipe, _named(run.flags["baseline"], run.place, runs), runs)
        for run in runs.values()
        if "baseline" in run.flags
    }
    return Study(path, jobs, recipe.score, recipe.baseline, own)


def _expanded(recipe: _Recipe) -> Iterator[_Run]:
    """Yield a run for each combination of values of a grid."""
    for family, flags in recipe.runs.items():
        flags = dict(flags or {})
        if not NAME.fullmatch(str(family)):
            raise ValueError(f"{recipe.path}: run '{family}': a folder cannot have this name")
        grid = flags.pop("grid", {})
        for values in itertools.product(*grid.values()):
            place = dict(zip(grid, values, strict=True))
            yield _Run(_at(str(family), place), str(family), place, {**flags, **place})


def _at(family: str, place: Mapping[str, Any]) -> str:
    """Name the run of a family at a place of its grid."""
    values = ",".join(f"{flag}={value}" for flag, value in place.items())
    return f"{family} {values}" if values else family


def _named(baseline: str, place: Mapping[str, Any], runs: Mapping[str, _Run]) -> str:
    """Name the run that is meant by the baseline of a run at a place of its grid."""
    there = _at(baseline, place)
    return there if there in runs else baseline


def _known(recipe: _Recipe, baseline: str, runs: Mapping[str, _Run]) -> str:
    if baseline not in runs:
        raise ValueError(f"{recipe.path}: baseline {baseline} is no run; runs: {', '.join(runs)}")
    return baseline


def _job(recipe: _Recipe, run: _Run, seed: int, runs: Mapping[str, _Run]) -> Job:
    name, flags = run.name, run.flags
    own = {key: value for key, value in flags.items() if key not in OF_A_RUN}
    method = own.get("method") or name.split()[0]
    is_method = all(part in METHODS for part in method.split("+"))
    stage = flags.get("stage", "sekd" if is_method else None)
    if stage not in STAGES:
        raise ValueError(
            f"{recipe.path}: run '{name}' needs 'stage: teacher' or 'stage: student': no method "
            "has this name"
        )
    folder = recipe.savedir / name / f"seed{seed}"
    merged = {**recipe.flags, **own}
    teacher = flags.get("teacher", recipe.teacher) if stage == "sekd" else None
    folders = _teacher_folders(recipe, teacher, runs)
    if stage == "sekd":
        merged["method"] = method
        files = [folder / "last.pth" for folder in folders] + _teacher_files(teacher, runs)
        merged |= {"teacher": files} if files else {}
    merged |= {"seed": seed, "savedir": folder.parent, "run-name": folder.name}
    words = [] if recipe.config is None else ["--config", str(recipe.config)]
    try:
        words += _spell(FlagParser(stage), merged)
        options = parse_options(stage, words, model="SegformerB0")
    except ValueError as error:
        raise ValueError(f"{recipe.path}: run '{name}': {error}") from None
    return Job(
        run=name,
        family=run.family,
        place=tuple(run.place.items()),
        seed=seed,
        stage=stage,
        words=tuple(words),
        folder=folder,
        results=recipe.results / name / folder.name,
        teachers=tuple(folders),
        steps=options.optimisation.max_steps,
        images_per_step=options.optimisation.batch_size * options.optimisation.accumulate,
    )


def _teacher_folders(
    recipe: _Recipe, teacher: str | list[str] | None, runs: Mapping[str, _Run]
) -> list[Path]:
    """Folders of the jobs that teach: a run's first seed, all seeds of a list's runs."""
    first_only = not isinstance(teacher, list)
    return [
        recipe.savedir / run / f"seed{seed}"
        for run in _listed(teacher)
        if run in runs
        for seed in runs[run].flags.get("seeds", recipe.seeds)[: 1 if first_only else None]
    ]


def _teacher_files(teacher: str | list[str] | None, runs: Mapping[str, _Run]) -> list[Path]:
    """Teachers that are no run of the recipe: files."""
    return [Path(name) for name in _listed(teacher) if name not in runs]


def _listed(teacher: str | list[str] | None) -> list[str]:
    if teacher is None:
        return []
    return teacher if isinstance(teacher, list) else [teacher]


def _spell(parser: FlagParser, flags: Mapping[str, Any]) -> list[str]:
    """The words of a command line that set the flags of a run."""
    words: list[str] = []
    for name, value in parser.check(flags, "its flags").items():
        option, *opposite = parser.actions[name].option_strings
        if parser.actions[name].nargs == 0:
            words += [option] if value else opposite
        elif isinstance(value, list) and len(value) > 1:
            words += [option, *map(str, value)]
        else:
            value = value[0] if isinstance(value, list) else value
            text = "x".join(map(str, value)) if isinstance(value, tuple) else value
            words.append(f"{option}={'false' if text is None else text}")  # --pretrained false
    return words
