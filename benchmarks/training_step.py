"""Seconds of a training step with a full-size loss, against libraries with the same network."""

import sys
from collections.abc import Callable
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.measuring import OURS, add_shape, build_parser, compare, read_device, shape_name
from benchmarks.rivals import build_rivals
from command_line.cli import run
from train.optimizer import build_optimizer
from train.segmentation_loss import SegmentationLoss

CLASSES = 19


def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=5)
    add_shape(parser)
    parser.add_argument("--model", default="SegformerB0")
    args = parser.parse_args()
    device = read_device(args)
    networks = build_rivals(args.model, CLASSES, device)
    for size in args.size:
        for batch in args.batch:
            images = torch.rand(batch, 3, size, size, device=device)
            labels = torch.randint(0, CLASSES, (batch, size, size), device=device)
            contenders = {
                library: training_step(library, network, images, labels)
                for library, network in networks.items()
            }
            case = f"{args.model}, {shape_name(batch, size)}"
            compare(case, contenders, args.rounds, model=args.model, batch=batch, size=size)


def training_step(library: str, network: nn.Module, images: Tensor, labels: Tensor) -> Callable:
    """Return a function that trains on one batch: ours as in `train/`, others as their users do."""
    network.train()
    criterion: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    if library == OURS:
        criterion = SegmentationLoss()
        optimizer = build_optimizer(network, lr=1e-5, weight_decay=0.01)
    else:
        criterion = plain_loss
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.01)

    def call() -> None:
        criterion(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


def plain_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K, h, w) upsampled to labels (B, H, W)."""
    logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, labels, ignore_index=255)


if __name__ == "__main__":
    run(main)
