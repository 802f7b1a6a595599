"""Images per second that a loader augments, by where they come from and by number of workers."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from PIL import Image

from benchmarks.measuring import build_parser, record
from command_line.arguments import non_negative_integer, positive_integer
from command_line.cli import run
from datasets import SegmentationDataset, build_dataset
from datasets.cache import keep_in_memory
from datasets.layout import write_label, write_lists
from datasets.sampling import EpochSampler
from datasets.synthetic import Synthetic, draw_sample, field_stem
from datasets.transforms import TrainTransform
from eval.deployment.timing import interleaved_seconds, median_and_spread
from train.stage import build_loader

BATCH = 4
SEED = 0


def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=5)
    add = parser.add_argument
    add("--workers", type=non_negative_integer, nargs="+", default=[0, 1, 2])
    add("--image", type=positive_integer, nargs=2, default=[960, 1280], help="height, width")
    add("--images", type=positive_integer, default=16)
    add("--crop", type=positive_integer, default=256)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for source, dataset in sources(Path(folder), args.images, tuple(args.image)):
            dataset.transform = TrainTransform(min(args.image) // 2, args.crop)
            for workers in args.workers:
                measure(source, dataset, workers, args.rounds)


def sources(
    folder: Path, count: int, size: tuple[int, int]
) -> Iterator[tuple[str, SegmentationDataset]]:
    """Yield the same fields as JPEG files, as PNG files and in memory."""
    for suffix in ("jpg", "png"):
        root = folder / suffix
        write_fields(root, suffix, count, size)
        yield f"{suffix.upper()} files", build_dataset("Synthetic", root, "train")
    kept = build_dataset("Synthetic", folder / "png", "train")
    keep_in_memory(kept, range(count))
    yield "PNG files, --cache ram", kept


def write_fields(root: Path, suffix: str, count: int, size: tuple[int, int]) -> None:
    """Draw fields into a folder in VOC layout, with images in the given file format."""
    for name in ("JPEGImages", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    stems = [field_stem("train", index) for index in range(count)]
    for index, stem in enumerate(stems):
        image, label = draw_sample(SEED, "train", index, size)
        Image.fromarray(image).save(root / "JPEGImages" / f"{stem}.{suffix}", quality=95)
        write_label(root / "SegmentationClass" / f"{stem}.png", label, Synthetic.palette)
    write_lists(root, {"train": stems})


def measure(source: str, dataset: SegmentationDataset, workers: int, rounds: int) -> None:
    """Record the time of an epoch that does nothing with its batches."""
    loader = build_loader(dataset, EpochSampler(len(dataset), SEED), BATCH, workers)
    epoch = {source: lambda: [None for _ in loader]}  # the first epoch starts workers: warm-up
    median, spread = median_and_spread(interleaved_seconds(epoch, rounds)[source])
    images = len(loader) * BATCH
    values = {"seconds": median / images, "spread": spread / images}
    record(f"{workers} workers", source, **values, images_per_second=images / median)


if __name__ == "__main__":
    run(main)
