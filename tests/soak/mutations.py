"""Damage: of nested content, such as a checkpoint's, of text, and of bytes."""

import random
from typing import Any

import torch

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 3, 10**12, 2**70, 1.5, float("nan"), float("inf"), "", "x", "../../x",
    "<script>", "\x1b[2J", b"\x00", [], {}, [1, [2, {"a": 3}]], {"a": 1}, {1: 2}, ("a",),
    torch.zeros(()), torch.zeros(3, 0), torch.full((2, 2), float("nan")),
    torch.zeros(2, 2).to_sparse(),
)  # fmt: skip
WORDS = ("*a", "&a [*a]", "!!python/object:os.system", "2020-99-99", "0x", "{", "[" * 2000, "- ",
         "\t", ":", "null", "~", "1e999", "!!binary x", "<<: 1", "? ", "|", "\x00")  # fmt: skip


def damaged(content: Any, draw: random.Random) -> Any:
    """Nested dicts and lists with one to three entries replaced, dropped or renamed."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        deepest = draw.choice((1, 2, 3, 9))
        places = [place for place in _places(content) if 0 < len(place) <= deepest]
        if not places:
            return draw.choice(JUNK)
        *above, last = draw.choice(places)
        content = _changed(content, above, lambda parent: _spoil(parent, last, draw))  # noqa: B023
    return content


def damaged_bytes(data: bytes, draw: random.Random) -> bytes:
    """Bytes of which some are changed, left out, doubled or cut off."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(found) + 1)
        end = min(len(found), at + draw.choice((1, 4, 64)))
        kind = draw.randrange(4)
        if kind == 0:
            found[at:end] = draw.randbytes(end - at)
        elif kind == 1:
            del found[at:end]
        elif kind == 2:
            found[at:at] = found[at:end]
        elif draw.random() < 0.3:
            del found[at:]
    return bytes(found)


def damaged_text(text: str, draw: random.Random) -> str:
    """Text with YAML's or CSV's stumbling blocks put in, or lines left out."""
    lines = text.splitlines() or [""]
    for _ in range(draw.choice((1, 2, 4))):
        at = draw.randrange(len(lines))
        word = draw.choice(WORDS)
        kind = draw.randrange(4)
        if kind == 0:
            lines[at] = word
        elif kind == 1:
            head, *_ = lines[at].partition(":")
            lines[at] = f"{head}: {word}"
        elif kind == 2:
            lines.insert(at, lines[at])
        else:
            cut = draw.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + word + lines[at][cut:]
    return "\n".join(lines)


def _places(content: Any, at: tuple = ()) -> list[tuple]:
    inside = content.items() if isinstance(content, dict) else ()
    inside = enumerate(content) if isinstance(content, (list, tuple)) else inside
    return [at, *(place for key, value in inside for place in _places(value, (*at, key)))]


def _changed(content: Any, at: list, change) -> Any:
    if not at:
        return change(content)
    parts = dict(content) if isinstance(content, dict) else list(content)
    parts[at[0]] = _changed(content[at[0]], at[1:], change)
    return tuple(parts) if isinstance(content, tuple) else parts


def _spoil(parent: Any, key: Any, draw: random.Random) -> Any:
    parts = dict(parent) if isinstance(parent, dict) else list(parent)
    kind = draw.random()
    if kind < 0.7:
        parts[key] = draw.choice(JUNK)
    elif kind < 0.85 or isinstance(parts, list):
        parts.pop(key)
    else:
        parts[draw.choice(["zz", 1, None, "model", "training", "format"])] = parts.pop(key)
    return tuple(parts) if isinstance(parent, tuple) else parts
