"""Declare the flag of an options field: name, default, check and help in one place."""

import argparse
from collections.abc import Collection
from dataclasses import Field, dataclass, field, fields
from typing import Any

from command_line.arguments import switch


@dataclass(frozen=True)
class Flag:
    """The flag of a field.

    Attributes:
        names: spellings, the preferred one first.
        text: help text.
        how: further arguments of `add_argument`.
        saved: whether it is recorded in args.yaml and checkpoints.
        may_be_file: whether its value may be a file, which is recorded by absolute path.
    """

    names: tuple[str, ...]
    text: str
    how: dict[str, Any]
    saved: bool
    may_be_file: bool


def flag(
    text: str,
    *names: str,
    default: Any = None,
    saved: bool = True,
    may_be_file: bool = False,
    **how: Any,
) -> Any:
    """A field with a flag; without `names`, the flag is named after the field: --batch-size."""
    return field(default=default, metadata={"flag": Flag(names, text, how, saved, may_be_file)})


def two_way(text: str, default: bool) -> Any:
    """A switch with a negative form: --flip and --no-flip."""
    return flag(text, default=default, action=argparse.BooleanOptionalAction)


def published_switch(text: str, *names: str, default: bool = False, saved: bool = True) -> Any:
    """A switch with an optional true/false, since published commands use both forms."""
    how: dict[str, Any] = {"nargs": "?", "const": True, "type": switch, "metavar": "BOOL"}
    return flag(text, *names, default=default, saved=saved, **how)


def flag_of(each: Field) -> Flag:
    """The flag of a dataclass field."""
    return each.metadata["flag"]


def add_flags(group: argparse._ArgumentGroup, concern: type) -> None:
    """Add the flags of a dataclass to a group of a parser."""
    for each in fields(concern):
        known = flag_of(each)
        names = known.names or (f"--{each.name.replace('_', '-')}",)
        default = list(each.default) if isinstance(each.default, tuple) else each.default
        group.add_argument(*names, dest=each.name, default=default, help=known.text, **known.how)


def find_name(flag_name: str, name: str, names: Collection[str]) -> str:
    """Look up the registry's spelling of a name, ignoring case.

    Raises:
        ValueError: an unknown name; names the flag and the known names.
    """
    spellings = {known.lower(): known for known in names}
    if name.lower() not in spellings:
        raise ValueError(f"{flag_name} {name or repr(name)} is unknown; known: {', '.join(names)}")
    return spellings[name.lower()]
