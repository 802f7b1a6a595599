"""Shared by all measurements: flags, device and the output of results.

A measurement prints records on standard output, one JSON object per line:

    {"case": "SegformerB0, 2 x 512 x 512", "contender": "this project", "seconds": 0.2, ...}

Contenders of one program and case did the same work, taking turns.
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
    """Return a parser with the flags of all measurements."""
    parser = OneLineParser(description=description)
    parser.add_argument("--device", help="cpu, cuda, … (default: cuda where there is one)")
    parser.add_argument("--rounds", type=positive_integer, default=rounds, help="timed calls")
    return parser


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a batch of square images."""
    parser.add_argument("--size", type=positive_integer, nargs="+", default=[512], help="px")
    parser.add_argument("--batch", type=positive_integer, nargs="+", default=[2], help="images")


def read_device(args: argparse.Namespace) -> torch.device:
    """Return the device, with PyTorch's default float32 precision, and seed the generators."""
    device = choose_device(args.device)
    torch.manual_seed(0)
    return device


def compare(case: str, contenders: Mapping[str, Callable], rounds: int, **facts: object) -> None:
    """Time contenders in turns, and record their medians."""
    for name, seconds in interleaved_seconds(contenders, rounds).items():
        median, spread = median_and_spread(seconds)
        record(case, name, seconds=median, spread=spread, each=seconds, **facts)


def record(case: str, contender: str, **values: object) -> None:
    """Print one record."""
    print(json.dumps({"case": case, "contender": contender, **values}), flush=True)


def shape_name(batch: int, size: int) -> str:
    """Return the name of a batch of square images in tables."""
    return f"{batch} x {size} x {size}"


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory so far: of the process on a CPU, of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024)
