"""Flags for how images are run through the network."""

import argparse

from conventions.preprocessing import STRIDE
from eval.inference import Inference
from models.encoder import MIN_SIZE

WINDOW, OVERLAP = (512, 512), 0.25
SCALES = (0.75, 1.0, 1.25)


def add_inference_flags(group: argparse._ArgumentGroup) -> None:
    """Add `--inference`, `--window`, `--overlap` and `--tta`; see `choose_inference`."""
    group.add_argument(
        "--inference",
        choices=("whole", "slide"),
        default="whole",
        help="whole: an image at once; slide: by overlapping windows, for images of any size in "
        "little memory, mostly with --image-size native (default: whole)",
    )
    group.add_argument(
        "--window",
        type=window_size,
        help="slide: size of the window in px, 512 or HEIGHTxWIDTH (default: 512)",
    )
    group.add_argument(
        "--overlap",
        type=share,
        help=f"slide: share of a window that the next one sees again (default: {OVERLAP})",
    )
    group.add_argument(
        "--tta",
        type=scales,
        nargs="?",
        const=SCALES,
        metavar="SCALES",
        help="average over several sizes of the image, each mirrored as well; 1 mirrors only "
        f"(without a value: {','.join(f'{scale:g}' for scale in SCALES)})",
    )


def add_precision(group: argparse._ArgumentGroup) -> None:
    """Add `--precision`; `eval.exported.opening.load_network` reads it."""
    group.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="OpenVINO files: type to compute in (default: OpenVINO's own choice, bfloat16 "
        "on processors that have it, else float32)",
    )


def choose_inference(args: argparse.Namespace) -> Inference:
    """Return the inference mode chosen by the flags.

    Raises:
        ValueError: a flag would have no effect.
    """
    window = None
    if args.inference == "slide":
        window = args.window or WINDOW
    elif args.window is not None or args.overlap is not None:
        name = "--window" if args.window is not None else "--overlap"
        raise ValueError(f"{name} belongs to --inference slide: add that, or leave {name} out")
    overlap = OVERLAP if args.overlap is None else args.overlap
    return Inference(window, overlap, args.tta or (1.0,), flip=args.tta is not None)


def window_size(text: str) -> tuple[int, int]:
    """Read a side in px, or HEIGHTxWIDTH."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise argparse.ArgumentTypeError(f"expected 512 or 480x640, not '{text}'")
    height, width = int(sides[0]), int(sides[-1])
    if min(height, width) < MIN_SIZE or height % STRIDE or width % STRIDE:
        raise argparse.ArgumentTypeError(
            f"sides are multiples of {STRIDE} and at least {MIN_SIZE} px, not '{text}'"
        )
    return height, width


def share(text: str) -> float:
    """Read a number in [0, 1)."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, not '{text}'")
    return value


def scales(text: str) -> tuple[float, ...]:
    """Read comma-separated scales, each 0.1 to 4, without duplicates."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or len(set(values)) < len(values) or not all(0.1 <= v <= 4 for v in values):
        raise argparse.ArgumentTypeError(
            f"expected different scales from 0.1 to 4, such as 0.75,1,1.25, not '{text}'"
        )
    return values
