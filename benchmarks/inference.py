"""Seconds of a forward pass, against the libraries that hold the same network."""

import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from torch import Tensor, nn

from benchmarks.measuring import add_shape, build_parser, compare, read_device, shape_name
from benchmarks.rivals import build_rivals
from command_line.cli import run

CLASSES = 19


def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=5)
    add_shape(parser)
    parser.add_argument("--models", nargs="+", default=["SegformerB0"])
    args = parser.parse_args()
    device = read_device(args)
    for name in args.models:
        networks = build_rivals(name, CLASSES, device)
        for size in args.size:
            for batch in args.batch:
                images = torch.rand(batch, 3, size, size, device=device)
                contenders = {library: forward(net, images) for library, net in networks.items()}
                case = f"{name}, {shape_name(batch, size)}"
                compare(case, contenders, args.rounds, model=name, batch=batch, size=size)


def forward(network: nn.Module, images: Tensor):
    """Return a function that computes logits."""

    @torch.inference_mode()
    def call() -> None:
        network(images)

    return call


if __name__ == "__main__":
    run(main)
