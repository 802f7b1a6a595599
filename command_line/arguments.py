"""Shared by several commands: argument types with one-line errors, and common flags."""

import argparse
import math
import os
from collections.abc import Callable
from typing import TypeVar

N = TypeVar("N", int, float)


def positive_integer(text: str) -> int:
    """Read 1, 2, 3, ..."""
    return _number(text, int, exclusive=True)


def non_negative_integer(text: str) -> int:
    """Read 0, 1, 2, ..."""
    return _number(text, int, exclusive=False)


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    return _number(text, float, exclusive=True)


def non_negative_number(text: str) -> float:
    """Read a finite number, 0 or above."""
    return _number(text, float, exclusive=False)


def probability(text: str) -> float:
    """Read a number from 0 to 1."""
    return _at_most(non_negative_number(text), 1, text)


def factor(text: str) -> float:
    """Read a number above 0, at most 1."""
    return _at_most(positive_number(text), 1, text)


def decay(text: str) -> float:
    """Read a number above 0 and below 1."""
    if (value := positive_number(text)) >= 1:
        raise argparse.ArgumentTypeError(f"must be less than 1, not {text}")
    return value


def switch(text: str) -> bool:
    """Read true or false: published command lines pass a value to some switches."""
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not '{text}'")


def image_size(text: str) -> str | int | tuple[int, int]:
    """Read `native`, a short side in px, or HEIGHTxWIDTH."""
    if text.lower() == "native":
        return "native"
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) >= 32 for side in sides):
        raise argparse.ArgumentTypeError(
            f"expected native, 512 or 480x640, sides of at least 32 px, not '{text}'"
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def folder_name(text: str) -> str:
    """Read the name of one folder, without a path."""
    if text in (".", "..") or not text.isprintable() or any(mark in text for mark in "/\\"):
        raise argparse.ArgumentTypeError(f"expected a folder's name, not a path: {text!r}")
    return text


def add_state(add: Callable[..., object]) -> None:
    """Add `--state`, the checkpoint that a command reads, through a parser's or group's `add`."""
    add(
        "--state",
        required=True,
        metavar="CKPT",
        help="checkpoint, run folder, published file, Hugging Face folder or id; fields for the "
        "weights learnt from drawn fields (ckpt_pretrained/README.md)",
    )


def add_colours(add: Callable[..., object]) -> None:
    """Add `--colors` through a parser's or group's `add`."""
    add(
        "--colors",
        nargs="+",
        metavar="NAME=R,G,B",
        help="colours of classes in pictures and tables, 0 to 255 each, as in weed=255,0,0; "
        "classes that are left out keep theirs",
    )


def default_workers() -> int:
    """Return the number of data loading workers: one per available CPU core, at most 4."""
    affinity = getattr(os, "sched_getaffinity", None)  # only on Linux
    return min(4, len(affinity(0)) if affinity else os.cpu_count() or 1)


def _at_most(value: float, most: float, text: str) -> float:
    if value > most:
        raise argparse.ArgumentTypeError(f"must be at most {most}, not {text}")
    return value


def _number(text: str, kind: type[N], exclusive: bool) -> N:
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {what}, not '{text}'") from None
    if not (value > 0 or (value == 0 and not exclusive)) or math.isinf(value):
        bound = "greater than 0" if exclusive else "at least 0"
        raise argparse.ArgumentTypeError(f"must be {bound}, not {text}")
    return value
