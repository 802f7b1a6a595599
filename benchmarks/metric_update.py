"""Seconds of one update of the confusion matrix, against torchmetrics."""

import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch

from benchmarks.measuring import OURS, build_parser, compare, read_device
from command_line.cli import run
from eval.metrics import SegmentationMetrics


def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=15)
    parser.add_argument("--image", type=int, nargs=2, default=[1024, 2048], help="height, width")
    parser.add_argument("--classes", type=int, default=19)
    args = parser.parse_args()
    from torchmetrics.classification import MulticlassConfusionMatrix

    device = read_device(args)
    prediction = torch.randint(0, args.classes, (1, *args.image), device=device)
    label = torch.randint(0, args.classes, (1, *args.image), device=device)
    label[:, : args.image[0] // 20] = 255
    ours = SegmentationMetrics(args.classes)
    theirs = MulticlassConfusionMatrix(args.classes, ignore_index=255, validate_args=False)
    theirs = theirs.to(device)
    narrow = prediction.to(torch.uint8), label.to(torch.uint8)
    contenders = {
        OURS: lambda: ours.update(prediction, label),
        "this project, maps of bytes as in eval/": lambda: ours.update(*narrow),
        "torchmetrics": lambda: theirs.update(prediction, label),
    }
    case = "{} x {}, {} classes".format(*args.image, args.classes)
    compare(case, contenders, args.rounds)
    counted = ours.matrix // (args.rounds + 1) // 2
    if not torch.equal(counted, theirs.compute().cpu() // (args.rounds + 1)):
        raise ValueError("torchmetrics counts another confusion matrix")


if __name__ == "__main__":
    run(main)
