"""Seconds and memory of SEKD's texture term, against its definition with unfolded patches."""

import sys
from collections.abc import Callable
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from torch import Tensor

from benchmarks.measuring import (
    OURS,
    add_shape,
    build_parser,
    compare,
    peak_bytes,
    read_device,
    record,
    shape_name,
)
from benchmarks.unfolded_texture import texture as unfolded_texture
from command_line.cli import run
from losses.embedding_patch import TexturePatchLoss

WIDTHS = (64, 128, 320, 512)  # of SegFormer-B1 to B5 teachers, to which the student is projected
FORMULATIONS: dict[str, Callable[..., Tensor]] = {
    OURS: TexturePatchLoss(),
    "unfolded": unfolded_texture,
}


def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=5)
    add_shape(parser)
    parser.add_argument("--memory-of", choices=FORMULATIONS, help="its memory, and no times")
    args = parser.parse_args()
    device = read_device(args)
    for size in args.size:
        for batch in args.batch:
            case = shape_name(batch, size)
            student, teacher = draw_maps(batch, size, device), draw_maps(batch, size, device)
            if args.memory_of:
                before = peak_bytes(device)
                term(FORMULATIONS[args.memory_of], student, teacher)()
                record(case, args.memory_of, peak_bytes=peak_bytes(device) - before)
            else:
                terms = {name: term(f, student, teacher) for name, f in FORMULATIONS.items()}
                compare(case, terms, args.rounds, batch=batch, size=size)


def draw_maps(batch: int, size: int, device: torch.device) -> list[Tensor]:
    """Draw the patch embeddings of four stages, (B, C, h, w) each."""
    sides = [size // stride for stride in (4, 8, 16, 32)]
    return [
        torch.randn(batch, side, side, width, device=device).permute(0, 3, 1, 2)
        for width, side in zip(WIDTHS, sides, strict=True)
    ]


def term(formulation: Callable, student: list[Tensor], teacher: list[Tensor]) -> Callable:
    """Return a function that computes the term and its gradient."""

    def call() -> None:
        leaves = [maps.detach().requires_grad_() for maps in student]
        formulation(leaves, teacher).backward()

    return call


if __name__ == "__main__":
    run(main)
