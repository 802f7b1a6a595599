"""What every measurement shares: its flags, its device, and how it hands on what it measured.

A measurement prints one JSON object a line on standard output, a record:

    {"case": "SegformerB0, 2 x 512 x 512", "contender": "this project", "seconds": 0.2, ...}

Contenders of one program and case did the same work, in turns.
"""

import argparse
import json
import resource
import sys
from collections.abc import Callable, Mapping

import torch

from command_line.arguments import positive_integer
from command_line.cli import OneLineParser
from command_line.device import choose_device
from eval.deployment.timing import interleaved_seconds, median_and_spread

OURS = "this project"


def build_parser(description: str, rounds: int) -> OneLineParser:
    """Return the flags of every measurement."""
    parser = OneLineParser(description=description)
    parser.add_argument("--device", help="cpu, cuda, … (default: cuda where there is one)")
    parser.add_argument("--rounds", type=positive_integer, default=rounds, help="timed calls")
    return parser


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a batch of square images."""
    parser.add_argument("--size", type=positive_integer, nargs="+", default=[512], help="px")
    parser.add_argument("--batch", type=positive_integer, nargs="+", default=[2], help="images")


def read_device(args: argparse.Namespace) -> torch.device:
    """Return the device; numbers are computed as training does, TF32 included."""
    device = choose_device(args.device)
    torch.manual_seed(0)
    return device


def compare(case: str, contenders: Mapping[str, Callable], rounds: int, **facts: object) -> None:
    """Time contenders in turns, and hand their medians on."""
    for name, seconds in interleaved_seconds(contenders, rounds).items():
        median, spread = median_and_spread(seconds)
        record(case, name, seconds=median, spread=spread, each=seconds, **facts)


def record(case: str, contender: str, **values: object) -> None:
    """Hand one record on."""
    print(json.dumps({"case": case, "contender": contender, **values}), flush=True)


def shape_name(batch: int, size: int) -> str:
    """Name a batch of square images as in tables."""
    return f"{batch} x {size} x {size}"


def peak_bytes(device: torch.device) -> int:
    """Return the most memory so far: of the process on a CPU, of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024)
