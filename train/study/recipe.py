"""A study's recipe: its runs, and which of them depend on others.

A recipe is YAML:

    savedir: runs/study                   # run folders are <savedir>/<run>/seed<N>
    results: results/study                # likewise for scores and logs, without weights (optional)
    config: recipes/cwfid.yaml            # recipe of flags shared by all runs (optional)
    flags: {max-steps: 4800}              # further shared flags (optional)
    seeds: [0, 1, 2]
    score: test                           # split on which a run's last weights are scored
    baseline: none                        # run that the others are compared with
    teacher: teacher                      # of every distilled run: a run of this recipe, or a file
    runs:
      teacher: {stage: teacher, model: SegformerB1, seeds: [0]}
      none: {stage: student, grid: {lr: [3.0e-4, 6.0e-4]}}
      kd: {kd-weight: 0.5}
      kd of many: {teacher: [none, teacher]}

A run named after a method is distilled with it; `stage`, `seeds`, `teacher`, `baseline` and `grid`
are settings of the study, and all others are flags of its training script. `grid` makes one run per
combination of values; `baseline` is the run that this one is compared with, instead of the study's.
If the baseline has the same grid, runs with the same values are compared. A single teacher is the
first seed of its run; a list of teachers is an ensemble of all seeds of the listed runs.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
)

from losses import METHODS
from models.shipped import NAME as SHIPPED
from train.arguments import FlagParser, parse_options, read_recipe
from train.run_folder import LAST
from train.study.study import Job, Study

OF_A_RUN = ("stage", "seeds", "teacher", "baseline", "grid")
STAGES = ("teacher", "student", "sekd")
NAME = re.compile(r"[\w.+=, -]+")


def _different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("twice the same")
    return seeds


Shapes = TypeVar("Shapes", bound=BaseModel)
Text = Annotated[StrictStr, Field(min_length=1)]
Seeds = Annotated[list[StrictInt], Field(min_length=1), AfterValidator(_different)]
EXPECTED = {
    "seeds": "a list of different whole numbers, as in [0, 1, 2]",
    "grid": "lists of values by flag, as in {lr: [0.1, 0.2]}",
    "flags": "flags and their values, as in {max-steps: 100}",
    "runs": "runs and their flags, as in {kd: {kd-weight: 0.5}}",
}  # for all others: a name


class _RunSettings(BaseModel):
    """Types of the settings of a run besides its flags."""

    seeds: Seeds = [0]
    grid: dict[StrictStr, Annotated[list[Any], Field(min_length=1)]] = {}
    baseline: Text = "none"
    method: Text | None = None


class _Recipe(BaseModel):
    """The recipe as written, before its runs are expanded."""

    path: Path
    savedir: Text
    results: Text
    runs: dict[StrictStr | StrictInt, dict[StrictStr, Any] | None]
    config: Text | None = None
    flags: dict[StrictStr, Any] = {}
    seeds: Seeds = [0]
    score: Text | None = None
    baseline: Text | None = None
    teacher: Any = None  # see `_teachers`


@dataclass(frozen=True)
class _Run:
    """One run of the recipe: a point in the grid of a family of runs."""

    name: str
    family: str
    place: Mapping[str, Any]
    flags: Mapping[str, Any]


def read_study(path: Path, more: Mapping[str, Any] | None = None) -> Study:
    """Read a recipe and check the flags of all runs, before the first is trained for hours.

    Args:
        path: YAML file, see the module docstring.
        more: flags of all runs that override the recipe's, such as `datadir`.

    Raises:
        ValueError: an invalid recipe; names it, the run and the remedy.
        FileNotFoundError: there is no such file.
    """
    written = read_recipe(path)
    known = [name for name in _Recipe.model_fields if name != "path"]
    if unknown := sorted(set(written) - set(known)):
        raise ValueError(f"{path}: unknown setting '{unknown[0]}'; known: {', '.join(known)}")
    if not isinstance(written.get("runs"), dict) or "savedir" not in written:
        raise ValueError(f"{path}: a study needs 'savedir: FOLDER' and 'runs: {{NAME: FLAGS}}'")
    written = {"results": written["savedir"], **written, "path": path}
    recipe = _checked(_Recipe, written, f"{path}: ")
    recipe.flags = {**recipe.flags, **(more or {})}
    runs = {run.name: run for run in _expanded(recipe)}
    jobs = tuple(
        _job(recipe, run, seed, runs) for run in runs.values() for seed in _seeds(recipe, run)
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
    """Yield a run for each combination of grid values."""
    for family, flags in recipe.runs.items():
        flags = dict(flags or {})
        if not NAME.fullmatch(str(family)):
            raise ValueError(f"{recipe.path}: run '{family}': a folder cannot have this name")
        _checked(_RunSettings, flags, f"{recipe.path}: run '{family}': ")
        grid = flags.pop("grid", {})
        for values in itertools.product(*grid.values()):
            place = dict(zip(grid, values, strict=True))
            yield _Run(_at(str(family), place), str(family), place, {**flags, **place})


def _checked(shapes: type[Shapes], written: Mapping[str, Any], where: str) -> Shapes:
    try:
        return shapes.model_validate(written)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        expected = EXPECTED.get(name, "a name")
        raise ValueError(f"{where}{name} {written[name]!r}: expected {expected}") from None


def _at(family: str, place: Mapping[str, Any]) -> str:
    """Name of the run at a point in a family's grid."""
    values = ",".join(f"{flag}={value}" for flag, value in place.items())
    return f"{family} {values}" if values else family


def _named(baseline: str, place: Mapping[str, Any], runs: Mapping[str, _Run]) -> str:
    """Name of a baseline or teacher run: with the same grid values if there is such a run."""
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
    folder = _folder(recipe, name, seed)
    merged = {**recipe.flags, **own}
    merged |= {"seed": seed, "savedir": folder.parent, "run-name": folder.name}
    words = [] if recipe.config is None else ["--config", str(recipe.config)]
    teachers: list[tuple[Path, Path | None]] = []
    try:
        if stage == "sekd":
            teachers = list(_teachers(recipe, run, runs))
            merged["method"] = method
            merged |= {"teacher": [file for file, _ in teachers]} if teachers else {}
        parser = FlagParser(stage)
        flags_of_run = parser.check(merged, "its flags")
        words += _spell(parser, flags_of_run)
        options = parse_options(stage, words)
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
        results=Path(recipe.results) / name / folder.name,
        teachers=tuple(place for _, place in teachers if place is not None),
        steps=options.optimisation.max_steps,
        images_per_step=options.optimisation.batch_size * options.optimisation.accumulate,
        settings=options.saved(),
    )


def _teachers(
    recipe: _Recipe, run: _Run, runs: Mapping[str, _Run]
) -> Iterator[tuple[Path, Path | None]]:
    """Yield the file of each teacher, and its job's folder if it is a run of the recipe.

    Raises:
        ValueError: a teacher is neither a run nor a file.
    """
    setting = run.flags.get("teacher", recipe.teacher)
    if setting is None:
        return
    names = setting if isinstance(setting, list) else [setting]
    if not (
        names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    ):
        raise ValueError(f"teacher {setting!r}: expected a name, or a list of different ones")
    for name in names:
        taught_by = _named(name, run.place, runs)
        if taught_by not in runs:
            yield _teacher_file(name, runs), None
            continue
        seeds = _seeds(recipe, runs[taught_by])
        for seed in seeds if isinstance(setting, list) else seeds[:1]:
            folder = _folder(recipe, taught_by, seed)
            yield folder / LAST, folder


def _teacher_file(name: str, runs: Mapping[str, _Run]) -> Path:
    """Return the path of a teacher that is not a run; raise if it looks like a mistyped run."""
    path = Path(name)
    if path.suffix or len(path.parts) > 1 or path.exists() or name == SHIPPED:
        return path
    known = [run.name for run in runs.values() if run.family == name] or list(runs)
    raise ValueError(f"teacher {name} is neither a file nor a run; runs: {', '.join(known)}")


def _folder(recipe: _Recipe, name: str, seed: int) -> Path:
    return Path(recipe.savedir) / name / f"seed{seed}"


def _seeds(recipe: _Recipe, run: _Run) -> list[int]:
    return run.flags.get("seeds", recipe.seeds)


def _spell(parser: FlagParser, flags: Mapping[str, Any]) -> list[str]:
    """Convert the checked flags of a run to command-line arguments."""
    words: list[str] = []
    for name, value in flags.items():
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
