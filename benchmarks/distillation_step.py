"""Seconds of a distillation step by method, against its floor: teacher forward and student step."""

import sys
from collections.abc import Callable
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from torch import Tensor, nn

from benchmarks.measuring import (
    add_shape,
    build_parser,
    compare,
    peak_bytes,
    read_device,
    record,
    shape_name,
)
from command_line.cli import run
from conventions.preprocessing import Preprocessing
from losses import METHODS, build_method
from models import build_model
from train.optimizer import build_optimizer
from train.segmentation_loss import SegmentationLoss
from train.tasks import DistillationTask, SupervisedTask
from train.teacher import FrozenTeacher

CLASSES = 19
FLOOR = "floor"


def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=3)
    add_shape(parser)
    parser.add_argument("--teacher", default="SegformerB3")
    parser.add_argument("--student", default="SegformerB0")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--memory", action="store_true", help="of the one method, and no time")
    args = parser.parse_args()
    device = read_device(args)
    teacher = FrozenTeacher(build_model(args.teacher, CLASSES).to(device), Preprocessing())
    for size in args.size:
        for batch in args.batch:
            images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8).to(device)
            labels = torch.randint(0, CLASSES, (batch, size, size), device=device)
            steps = {
                name: step(name, args.student, teacher, images, labels)
                for name in ([] if args.memory else [FLOOR]) + args.methods
            }
            case = f"{args.teacher} to {args.student}, {shape_name(batch, size)}"
            facts = {"batch": batch, "size": size}
            if args.memory:
                measure_memory(case, steps, device, facts)
            else:
                compare(case, steps, args.rounds, **facts)


def measure_memory(case: str, steps: dict[str, Callable], device: torch.device, facts: dict):
    """Record the peak memory of this process after three steps of its only method."""
    ((name, call),) = steps.items()
    for _ in range(3):
        call()
    record(case, name, peak_bytes=peak_bytes(device), **facts)


def step(
    method: str, student: str, teacher: FrozenTeacher, images: Tensor, labels: Tensor
) -> Callable:
    """Return a function that runs a distillation step, or the floor, on one batch."""
    network = build_model(student, CLASSES).to(images.device)
    criterion = SegmentationLoss()
    if method == FLOOR:
        task: nn.Module = SupervisedTask(network, criterion, Preprocessing())
    else:
        distiller = build_method(method, network, teacher.network).to(images.device)
        task = DistillationTask(network, criterion, Preprocessing(), distiller, teacher)
    optimizer = build_optimizer(task.train(), lr=1e-5, weight_decay=0.01)

    def call() -> None:
        if method == FLOOR:
            teacher(images)
        task(images, labels)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


if __name__ == "__main__":
    run(main)
