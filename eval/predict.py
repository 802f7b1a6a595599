"""Segment photographs and videos: label maps, overlays and a table of each class's share.

    python eval/predict.py --state runs/student-SegformerB0-CWFID --input photos --output masks

All results have the size of their source, as viewers show it (EXIF orientation applied).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from datasets import DATASETS, find_dataset
from datasets.base import make_palette, parse_classes
from datasets.cityscapes import Cityscapes
from datasets.transforms import EvalTransform, scaled_size
from eval.arguments import add_state, image_size, positive_integer
from eval.cli import OneLineParser, run
from eval.device import choose_device
from eval.inference import Inference, predict_logits, upsample_argmax
from eval.inference_flags import add_inference_flags, choose_inference
from eval.prediction_files import TABLE, PredictionFiles
from eval.sources import Source, count_frames, find_sources, read_frames
from eval.subject import choose_preprocessing
from models import MODELS, load_checkpoint

MAX_PIXELS = 100_000_000  # of an image that was enlarged for the network


def main() -> int:
    """Run the command line; 1 if a file was left out."""
    args = build_parser().parse_args()
    inference = choose_inference(args)
    device = choose_device(args.device, args.cpu)
    sources = find_sources(args.input, args.output)
    model, info = load_checkpoint(args.state, model=args.model, map_location=device)
    classes, palette = describe_classes(args, info, model.num_classes)
    if args.official and tuple(classes) != Cityscapes.classes:
        raise ValueError(
            f"--official cityscapes: {args.state} knows other classes ({', '.join(classes)}); if "
            "they only lack their names, add --dataset Cityscapes"
        )
    predictor = Predictor(model, choose_preprocessing(args, info), inference, device)
    files = PredictionFiles(args.output, classes, palette, args.opacity, bool(args.official))
    try:
        failed = predict(predictor, sources, files, args)
    finally:  # Ctrl-C as well: the table names what was written
        files.write_table()
    print(f"{len(files.pixels)} images segmented, {failed} files left out: {args.output}")
    if files.pixels:
        cover = ", ".join(f"{name} {share:.2f} %" for name, share in files.mean_cover().items())
        print(f"mean cover: {cover} ({args.output / TABLE})")
    return 1 if failed else 0


class Predictor:
    """A network, and how an image gets to it and back."""

    def __init__(
        self,
        model: nn.Module,
        preprocessing: dict[str, Any],
        inference: Inference,
        device: torch.device,
    ) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.inference = inference
        self.device = device
        size = preprocessing["image_size"]
        self.image_size = tuple(size) if isinstance(size, list) else size

    def prepare(self, image: Tensor) -> Tensor:
        """Bring an image (3, H, W) uint8 to the size and place that the network wants it at.

        Raises:
            ValueError: a narrow strip, whose short side cannot be enlarged for its length.
        """
        height, width = image.shape[-2:]
        rows, columns = scaled_size((height, width), self.image_size)
        if rows * columns > max(MAX_PIXELS, height * width):
            raise ValueError(
                f"{width} x {height} px would become {columns} x {rows} for the network: "
                "pass --image-size native"
            )
        prepared, _ = EvalTransform(self.image_size)(image, None)
        return prepared[None].to(self.device)

    @torch.inference_mode()
    def __call__(self, image: Tensor, confidence: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Segment one image, (3, H, W) uint8.

        Returns:
            The class map (H, W) uint8, and if wanted the probability of that class, 255 standing
            for 1; it is computed at the network's resolution and upsampled.

        Raises:
            ValueError: the image does not fit into memory, see also `prepare`.
        """
        size = tuple(image.shape[-2:])
        try:
            logits = predict_logits(
                self.model, self.prepare(image), self.preprocessing, inference=self.inference
            )
            label = upsample_argmax(logits, size)[0].cpu().numpy()
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise ValueError(
                    f"{size[1]} x {size[0]} px need more memory than there is: pass --inference "
                    "slide, or a smaller --window or --image-size"
                ) from error
            raise
        if not confidence:
            return label, None
        highest = logits.softmax(1).amax(1, keepdim=True).mul_(255)
        highest = F.interpolate(highest, size, mode="bilinear", align_corners=False)
        return label, highest[0, 0].round_().to(torch.uint8).cpu().numpy()


def predict(
    predictor: Predictor,
    sources: Sequence[Source],
    files: PredictionFiles,
    args: argparse.Namespace,
) -> int:
    """Segment all sources; report those that cannot be, and return their number."""
    failed = set()
    total = count_frames(sources, args.every)
    with tqdm(total=total, desc="predict", unit="image", disable=None) as bar:
        for name, image in read_frames(sources, args.every):
            bar.update()
            try:
                if isinstance(image, Exception):
                    raise image
                label, confidence = predictor(image, args.confidence)
            except (ValueError, OSError) as error:
                message = str(error) if isinstance(image, Exception) else f"{name}: {error}"
                bar.write(f"left out: {' '.join(message.split())}", file=sys.stderr)
                failed.add(name)
                continue
            files.write(name, image.permute(1, 2, 0).numpy(), label, confidence)
    return len(failed)


def describe_classes(
    args: argparse.Namespace, info: dict[str, Any], count: int
) -> tuple[Sequence[str], Sequence[tuple[int, int, int]]]:
    """Return names and colours: the flags', or the checkpoint's, or numbers and VOC's colours.

    Raises:
        ValueError: the flags name another number of classes than the network knows.
    """
    classes, palette = info["classes"], info["palette"]
    if args.dataset is not None:
        declared = find_dataset(args.dataset)
        classes, palette = getattr(declared, "classes", classes), declared.palette
        palette = palette if len(palette) == count else None
    if args.classes is not None:
        classes = parse_classes(args.classes)
    classes = classes or [f"class {index}" for index in range(count)]
    if len(classes) != count:
        flag = "--classes" if args.classes is not None else f"--dataset {args.dataset}"
        raise ValueError(
            f"{flag}: {len(classes)} classes ({', '.join(classes)}), but {args.state} knows {count}"
        )
    return classes, [tuple(colour) for colour in palette or make_palette(count)]


def opacity(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, not '{text}'")
    return value


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Segment photographs and videos.")
    add_network_flags(parser)
    files = parser.add_argument_group("files")
    add_source_flags(files)
    files.add_argument(
        "--opacity", type=opacity, default=0.5, help="of the overlays' colours; 0: no overlays"
    )
    files.add_argument(
        "--confidence",
        action="store_true",
        help="also grey maps of how sure the network is, 255 standing for 1",
    )
    files.add_argument(
        "--official",
        choices=("cityscapes",),
        help="also PNGs of label ids in label_ids/, as the Cityscapes server takes them",
    )
    add_inference_flags(parser.add_argument_group("inference"))
    return parser


def add_source_flags(group: argparse._ArgumentGroup) -> None:
    """Add ``--input``, ``--output`` and ``--every``."""
    group.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="images, videos, folders with their sub-folders, or globs in quotation marks",
    )
    group.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    group.add_argument(
        "--every", type=positive_integer, default=1, metavar="N", help="of a video, each Nth frame"
    )


def add_network_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the network, its classes and its device."""
    group = parser.add_argument_group("network")
    add = group.add_argument
    add_state(add)
    add("--model", help=f"network that the file holds: {', '.join(MODELS)}")
    add("--classes", help="class names, a,b,c or a text file (default: the checkpoint's)")
    add("--dataset", help=f"take names and colours from one of {', '.join(DATASETS)}")
    add(
        "--image-size",
        type=image_size,
        help="size that images are brought to for the network: native, a short side in px, or "
        "HEIGHTxWIDTH (default: the checkpoint's); results have the source's size in any case",
    )
    add("--device", help="cpu, cuda, cuda:1 or mps (default: a GPU if there is one)")
    add("--cpu", action="store_true", help="the same as --device cpu")
    parser.set_defaults(protocol=None)  # the checkpoint's: it says how images were prepared


if __name__ == "__main__":
    run(main)
