"""Mapping of a source's class names: kept, renamed, merged with others, or void."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conventions.labels import VOID
from datasets.base import check_classes
from datasets.class_names import BACKGROUND_NAMES, VOID_NAMES
from datasets.importing.records import Source

OTHERS = "*"


@dataclass(frozen=True)
class Classes:
    """The classes of the new data set.

    Attributes:
        names: in the order of their ids.
        ids: maps the source's names to ids; 255 is void.
        unlabelled: the id of pixels that no region covers.
        values: maps the values of masks to ids.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]
    unlabelled: int
    values: Mapping[int, int]


def parse_map(text: str | None) -> dict[str, str]:
    """Read `carrot=crop,*=weed`.

    Raises:
        ValueError: not name=class, or a duplicate name.
    """
    rules: dict[str, str] = {}
    for entry in (text or "").split(","):
        if not entry.strip():
            continue
        name, sign, target = (part.strip() for part in entry.partition("="))
        if not sign or not name or not target:
            raise ValueError(f"--map {entry.strip()}: not NAME=CLASS, as in carrot=crop,*=weed")
        if name.casefold() in rules:
            raise ValueError(f"--map {entry.strip()}: {name} is mapped twice")
        rules[name.casefold()] = target
    return rules


def plan(
    source: Source,
    mapping: str | None = None,
    ignore: Sequence[str] = (),
    background: str | None = None,
    wanted: Sequence[str] | None = None,
) -> Classes:
    """Choose the classes of the new data set.

    Args:
        source: the data set that was read.
        mapping: `--map`; `*` stands for every class except background and void.
        ignore: names, and values of masks, that become void.
        background: class of pixels that no region covers (`void` ignores them).
        wanted: the classes in the order of their ids; others in the source are an error.

    Raises:
        ValueError: a flag names a class that the source lacks, fewer than two classes remain, or
            the flags contradict the source.
    """
    rules, dropped, numbers = _check(source, parse_map(mapping), ignore)
    chosen, background = background, _background(source, background, wanted)
    targets = {}
    for name in source.names:
        key = name.casefold()
        if key in dropped:
            targets[name] = "void"
        elif key in rules:
            targets[name] = rules[key]
        elif background is not None and key in BACKGROUND_NAMES and not source.has_masks:
            targets[name] = background
        elif key in (*VOID_NAMES, *BACKGROUND_NAMES) or OTHERS not in rules:
            targets[name] = name
        else:
            targets[name] = rules[OTHERS]
    if chosen is None and wanted is not None and background is not None:
        _check_guess(background, targets)
    order = [background or "void", *targets.values()]
    names = _order(source, order, wanted)
    ids = {name: _id(target, names) for name, target in targets.items()}
    values = {value: ids[name] for value, name in (source.values or {}).items()}
    if source.values is not None:
        values = {VOID: VOID} | values | dict.fromkeys(numbers, VOID)
    return Classes(names, ids, _id(background or "void", names), values)


def _check(
    source: Source, rules: dict[str, str], ignore: Sequence[str]
) -> tuple[dict[str, str], set[str], list[int]]:
    """Raise on names that the source does not have; split ignored names from ignored values."""
    known = {name.casefold() for name in source.names}
    told = ", ".join(source.names) or "none"
    for name in rules:
        if name != OTHERS and name not in known:
            raise ValueError(f"--map {name}={rules[name]}: no such class; in the source: {told}")
    dropped, numbers = set(), []
    for entry in (part.strip() for text in ignore for part in text.split(",")):
        if entry.casefold() in known:
            dropped.add(entry.casefold())
        elif entry.isdecimal() and source.values is not None:
            numbers.append(int(entry))
        elif entry:
            raise ValueError(f"--ignore {entry}: no such class; in the source: {told}")
    return rules, dropped, numbers


def _background(source: Source, background: str | None, wanted: Sequence[str] | None) -> str | None:
    """Choose the class of pixels that no region covers; None for masks, which label every pixel."""
    if source.has_masks:
        if background is not None:
            raise ValueError("--background: masks name every pixel; rename a class with --map")
        return None
    if background is None and wanted is not None:
        own = [name for name in wanted if name.casefold() in BACKGROUND_NAMES]
        return (own or list(wanted))[0]
    return background or "background"


def _check_guess(background: str, targets: Mapping[str, str]) -> None:
    """Raise if the first class, guessed as the background, has regions of its own."""
    for name, target in targets.items():
        if target.casefold() == background.casefold() and name.casefold() not in BACKGROUND_NAMES:
            raise ValueError(
                f"--classes {background},...: pixels outside of all regions would be {background}, "
                "which has regions of its own; name their class with --background, such as soil, "
                "or void to leave them out"
            )


def _order(source: Source, targets: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """List the classes in the order of their ids; names that differ in case only are merged."""
    found: dict[str, str] = {}
    for target in targets:
        if target.casefold() not in VOID_NAMES:
            found.setdefault(target.casefold(), target)
    if wanted is not None:
        known = {name.casefold() for name in wanted}
        for key, name in found.items():
            if key not in known:
                raise ValueError(
                    f"--classes {','.join(wanted)}: the source has {name} too; name it, merge it "
                    f"with --map {name}=CLASS, or leave it out with --ignore {name}"
                )
        return check_classes(wanted)
    if len(found) < 2:
        raise ValueError(
            f"--input: {len(found)} class(es) to train on ({', '.join(found.values()) or 'none'}); "
            f"in the source: {', '.join(source.names) or 'none'}; 2 or more are needed"
        )
    return check_classes(list(found.values()), "--input")


def _id(name: str, names: Sequence[str]) -> int:
    if name.casefold() in VOID_NAMES:
        return VOID
    return [known.casefold() for known in names].index(name.casefold())
