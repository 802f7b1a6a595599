"""What runs are called: those of one kind are repetitions of each other, such as other seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from conventions.run_flags import HANDLING, PLACES
from eval.reporting.run_records import read_data_digest, read_record, spell_flag
from eval.subject import Subject
from models.formats import infer_architecture
from models.reading import read_weights

# Flags that may differ between repetitions of one run. What a path leads to, a teacher or data, may
# not: see `tell_kinds_apart`.
REPETITION_FLAGS = PLACES | HANDLING | {"on_bad_sample", "seed", "teacher"}


@dataclass
class Kind:
    """What a run is called, and what tells it apart from others.

    Attributes:
        name: such as 'SEKD-CT SegformerB0'; `tell_kinds_apart` adds to it.
        state: run folder or checkpoint, as given by the user.
        flags: those the run was trained with, as far as they are known.
    """

    name: str
    state: str
    flags: dict[str, Any]

    @classmethod
    def of(cls, subject: Subject, state: str) -> Self:
        """Name a run by method or stage, and network: 'teacher SegformerB1'."""
        info = subject.info
        if info["method"] not in (None, "none"):
            name = info["method"].upper()
        else:
            name = info["args"].get("stage", "network")
            name = "student" if name == "sekd" else name  # --method none: trained alone
        return cls(f"{name} {info['architecture']}", state, info["args"])


def tell_kinds_apart(runs: Sequence[Kind]) -> None:
    """Add to the kinds of runs in what runs of one kind differ: teachers, flags or data.

    Runs that then have the same kind are repetitions, such as other seeds, and are averaged. Each
    may have a teacher of its own, such as that of its seed: teachers are alike if there are as many
    of the same networks, as far as these are known.
    """
    for tell_apart in (_by_teachers, _by_flags, _by_data, _by_paths, _by_files):
        for kind in dict.fromkeys(run.name for run in runs):
            tell_apart([run for run in runs if run.name == kind])


def _by_teachers(members: Sequence[Kind]) -> None:
    """Name the teachers of runs whose teachers differ in number or networks."""

    def alike(one: Kind, other: Kind) -> bool:
        first, second = _teachers_of(one), _teachers_of(other)
        if not first or not second or first == second:
            return True
        known, others = _networks_in(first), _networks_in(second)
        return len(known) == len(others) and (None in known + others or known == others)

    def describe(group: Sequence[Kind]) -> str:
        recorded = filter(None, map(_teachers_of, group))
        files = max(recorded, key=lambda files: None not in _networks_in(files))
        names = sorted(_network_in(file) or file for file in files)
        return f"teacher{'s' if len(names) > 1 else ''} {', '.join(names)}"

    _name_groups(members, alike, describe)


def _teachers_of(run: Kind) -> list[str]:
    """Files of a run's teachers; empty if there is none, or none is recorded."""
    recorded = run.flags.get("teacher") or []
    return [recorded] if isinstance(recorded, str) else list(map(str, recorded))


def _networks_in(files: Sequence[str]) -> list[str | None]:
    """Names of the networks in files, in any order of the files; None for what is unknown."""
    return sorted(map(_network_in, files), key=str)


@cache
def _network_in(file: str) -> str | None:
    """Name of the network in a teacher's file, by its run folder or itself; None if unknown."""
    try:
        model = read_record(file, {}).flags.get("model")
        if model is None and Path(file).exists():  # nothing is downloaded
            model, _ = infer_architecture(read_weights(file))
    except (OSError, ValueError):
        return None
    return model


def _by_flags(members: Sequence[Kind]) -> None:
    """Name the flags in which runs differ."""
    flags = [run.flags for run in members]
    names = dict.fromkeys(name for each in flags for name in each if name not in REPETITION_FLAGS)
    _name_flags(members, names)


def _by_data(members: Sequence[Kind]) -> None:
    """Name the data of runs that were trained on other files.

    Without the digests in both results.json, a folder of the same name counts as the same data.
    """

    def alike(one: Kind, other: Kind) -> bool:
        digests = [read_data_digest(run.state) for run in (one, other)]
        if None in digests:
            places = [run.flags.get("datadir") for run in (one, other)]
            return None in places or len({Path(str(place)).name for place in places}) == 1
        return digests[0] == digests[1]

    def describe(group: Sequence[Kind]) -> str:
        place = _spell("datadir", group[0].flags.get("datadir"))
        digest = next(filter(None, (read_data_digest(run.state) for run in group)), None)
        return place if digest is None else f"{place} (data_sha256 {digest[:8]})"

    _name_groups(members, alike, describe)


def _by_paths(members: Sequence[Kind]) -> None:
    """Name the teachers and data of runs of the same seed, which are not repetitions."""
    seeds = [run.flags.get("seed") for run in members]
    if len(set(seeds)) < len(seeds):
        _name_flags(members, ("teacher", "datadir"))


def _by_files(members: Sequence[Kind]) -> None:
    """Name the files of networks that are not of different seeds, such as one exported twice."""
    seeds = {run.flags.get("seed") for run in members} - {None}
    if 1 < len(members) != len(seeds):
        for run in members:
            run.name += f", {run.state}"


def _name_groups(
    members: Sequence[Kind],
    alike: Callable[[Kind, Kind], bool],
    describe: Callable[[Sequence[Kind]], str],
) -> None:
    """Group runs that are all alike and add the description of its group to each kind."""
    groups: list[list[Kind]] = []
    for run in members:
        fitting = (group for group in groups if all(alike(run, other) for other in group))
        group = next(fitting, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    for group in groups if len(groups) > 1 else ():
        description = describe(group)
        for run in group:
            run.name += f", {description}"


def _name_flags(members: Sequence[Kind], names: Iterable[str]) -> None:
    """Add flags in which runs differ to their kinds."""
    flags = [run.flags for run in members]
    for name in names:
        # Runs of earlier releases lack some flags.
        if len({str(each[name]) for each in flags if name in each}) < 2:
            continue
        for run, each in zip(members, flags, strict=True):
            if name in each:
                run.name += f", {_spell(name, each[name])}"


def _spell(name: str, value: Any) -> str:
    return " ".join(spell_flag(name, value) or [f"no --{name.replace('_', '-')}"])
