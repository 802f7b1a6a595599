"""State-dict keys: prefixes, and tables that translate other code bases' names into ours and back.

Ours are the names of the published SegFormer code, prefixed with `encoder.` or `head.`. For
others that differ by more than a prefix, there is a table of templates {ours: theirs}: `{s}` is
the stage, counted from 1 in our keys and from 0 in theirs, `{j}` the block.
"""

import re
from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]


class KeyMap:
    """Renames keys by a table of templates; a key that matches no template keeps its name."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._to_ours = [(_pattern(theirs), ours) for ours, theirs in table.items()]
        self._to_theirs = [(_pattern(ours), theirs) for ours, theirs in table.items()]

    def to_ours(self, state: State) -> State:
        """Return `state` under our keys."""
        return {_rename(key, self._to_ours, 1): value for key, value in state.items()}

    def to_theirs(self, state: State) -> State:
        """Return `state`, which has our keys, under their keys."""
        return {_rename(key, self._to_theirs, -1): value for key, value in state.items()}


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    for field in ("s", "j"):
        escaped = escaped.replace(rf"\{{{field}\}}", rf"(?P<{field}>\d+)")
    return re.compile(escaped)


def _rename(key: str, rules: list[tuple[re.Pattern[str], str]], shift: int) -> str:
    stem, _, leaf = key.rpartition(".")
    for pattern, template in rules:
        if match := pattern.fullmatch(stem):
            fields = {name: int(number) for name, number in match.groupdict().items()}
            if "s" in fields:
                fields["s"] += shift
            return f"{template.format(**fields)}.{leaf}"
    return key


def starts(state: State, *prefixes: str) -> bool:
    """Whether a key of `state` begins with one of `prefixes`."""
    return any(key.startswith(prefixes) for key in state)


def with_prefix(state: State, prefix: str) -> State:
    """Return `state` with `prefix` added to every key."""
    return {prefix + key: value for key, value in state.items()}


def without_prefix(state: State, prefix: str) -> State:
    """Return the entries of `state` whose key begins with `prefix`, which is removed."""
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}


def widening(state: State) -> int | None:
    """Expansion ratio of the first feed-forward layer, in SegFormer's or PVTv2's published keys."""
    weight = state.get("block1.0.mlp.fc1.weight")
    return None if weight is None else weight.shape[0] // weight.shape[1]
