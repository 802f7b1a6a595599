"""Gradient of each method in the student's encoder, relative to the cross-entropy.

    python benchmarks/gradient_share.py --state runs/STUDENT --teacher runs/TEACHER

Prints a Markdown table: by method and crop size, the gradient norm of the method's terms in the
encoder, divided by that of the cross-entropy; medians over batches. A share far from 1 means that
a method's default weight has almost no effect, or dominates the cross-entropy.
"""

import statistics
import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from torch import Tensor
from tqdm import tqdm

from command_line.arguments import add_state, positive_integer
from command_line.cli import OneLineParser, run
from conventions.preprocessing import Preprocessing
from datasets import SegmentationDataset, build_dataset
from datasets.transforms import TrainTransform, collate, normalize
from eval.reporting.markdown import markdown_table
from losses import METHODS, build_method
from losses.distiller import Distiller
from models import Segmenter, load_checkpoint
from train.segmentation_loss import SegmentationLoss
from train.teacher import FrozenTeacher


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    student, info = load_checkpoint(args.state)
    network, teacher_info = load_checkpoint(args.teacher)
    if info["dataset"] is None:
        raise ValueError("--state must be a checkpoint of a training run")
    teacher = FrozenTeacher(network, Preprocessing.read(teacher_info["preprocessing"]))
    preprocessing = Preprocessing.read(info["preprocessing"])
    shares: dict[str, list[str]] = {name: [] for name in args.methods}
    for size in args.size:
        torch.manual_seed(size)  # the same crops for any selection of methods
        batches = [draw_batch(open_images(info, size), args.batch) for _ in range(args.batches)]
        for name in tqdm(args.methods, desc=f"{size} px", leave=False, disable=None):
            torch.manual_seed(1)
            distiller = build_method(name, student, network)
            measured = [
                share_of(distiller, student, teacher, preprocessing, *batch) for batch in batches
            ]
            shares[name].append(f"{statistics.median(measured):.2f}")
    columns = ["method", *(f"{size} px" for size in args.size)]
    print(markdown_table(columns, [[f"`{name}`", *row] for name, row in shares.items()]), end="")


def open_images(info: dict, size: int) -> SegmentationDataset:
    """The student's training images, as crops of the given side in px."""
    flags = info["args"]
    split, classes = flags.get("train_split") or "train", flags.get("classes")
    dataset = build_dataset(info["dataset"], flags.get("datadir"), split, classes=classes)
    dataset.transform = TrainTransform(Preprocessing.read(info["preprocessing"]).image_size, size)
    return dataset


def draw_batch(dataset: SegmentationDataset, batch: int) -> tuple[Tensor, Tensor]:
    """Random crops: images uint8 (B, 3, H, W) and labels (B, H, W)."""
    order = torch.randint(len(dataset), (batch,)).tolist()
    samples = collate([dataset[index] for index in order])
    return samples["image"], samples["label"]


def share_of(
    distiller: Distiller,
    student: Segmenter,
    teacher: FrozenTeacher,
    preprocessing: Preprocessing,
    images: Tensor,
    labels: Tensor,
) -> float:
    """Gradient norm of a method's terms in the encoder, divided by that of the cross-entropy."""
    student.train()
    torch.manual_seed(2)
    teacher_out = teacher(images, distiller.reads)
    out = student.forward_intermediates(normalize(images, preprocessing))
    losses = (
        SegmentationLoss()(out.logits, labels.long()),
        sum(distiller(out, teacher_out, labels).values()),
    )
    weights = list(student.encoder.parameters())
    cross_entropy, method = (
        torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for loss in losses
    )
    return norm_of(method) / norm_of(cross_entropy)


def norm_of(gradients: tuple[Tensor | None, ...]) -> float:
    """L2 norm over all tensors."""
    squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt().item()


def build_parser() -> OneLineParser:
    """Return the command line parser."""
    parser = OneLineParser(description="Gradient of each method beside the cross-entropy's.")
    add = parser.add_argument
    add_state(add)
    add("--teacher", required=True, metavar="CKPT", help="as --state, of the teacher")
    add("--methods", nargs="+", default=list(METHODS), help="default: all")
    add("--size", type=positive_integer, nargs="+", default=[128, 256, 512], help="crops, px")
    add("--batch", type=positive_integer, default=4, help="crops per batch")
    add("--batches", type=positive_integer, default=5, help="the median is over these")
    return parser


if __name__ == "__main__":
    run(main)
