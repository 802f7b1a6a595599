"""Check data sets, and bring data into VOC layout: `python datasets/prepare.py --help`."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from PIL import Image
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from command_line.cli import OneLineParser, run
from datasets.base import IMAGE_SUFFIXES, index_by_stem
from datasets.class_statistics import class_weights
from datasets.conversion import convert_sugar_beets, find_sugar_beets, masks_to_ids, parse_colours
from datasets.drawing.world import KINDS
from datasets.importing.command import add_flags, import_data
from datasets.inspection import SplitReport, inspect, unseen_classes
from datasets.layout import (
    new_folder,
    scattered_folders,
    split_folders,
    split_names,
    write_classes,
    write_label,
    write_lists,
)
from datasets.near import near_file
from datasets.reading import READABLE_SUFFIXES
from datasets.registry import DATASETS
from datasets.suspicions import faint_images
from datasets.synthetic import SPLITS, VARIETIES, Synthetic, check_drawing, draw_sample, field_stem

SHOWN_PROBLEMS = 20
JPEG_QUALITY = 95


def check(args: argparse.Namespace) -> int:
    """Read all samples; print counts, shares, weights and problems. 1 if there are problems."""
    reports = inspect(args.dataset, args.datadir, args.classes, args.splits, sys.stderr.isatty())
    console = Console()
    opened = [report for report in reports if report.dataset is not None]
    if opened:
        console.print(_split_table(opened))
        console.print(_class_table(opened))
    for report in reports:
        if report.absent:
            print(f"left out: {report.absent}")
    for report in opened:
        unseen = unseen_classes(report)
        if unseen and report.split == report.data.default_train_split:
            print(f"note: no pixel of {', '.join(unseen)} in {report.split}: ", end="")
            print('do --classes fit? (255 means "do not count")')
        for told in report.notes:
            print(f"note: {told}")
    faint = dict.fromkeys(path for report in opened for path in report.faint)
    for told in faint_images(list(faint)):
        print(f"note: {told}")
    problems = [f"{report.split}: {told}" for report in reports for told in report.problems]
    for told in problems[:SHOWN_PROBLEMS]:
        print(f"problem: {told}")
    if len(problems) > SHOWN_PROBLEMS:
        print(f"... and {len(problems) - SHOWN_PROBLEMS} more")
    print(f"{len(problems)} problem(s)")
    return 1 if problems else 0


def _split_table(reports: Sequence[SplitReport]) -> Table:
    table = Table(title="Splits")
    for column in ("split", "images", "damaged", "void pixels", "sizes (width x height)"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for report in reports:
        sizes = sorted(report.sizes)
        told = ", ".join(f"{width} x {height}" for height, width in sizes[:3])
        more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
        images = len(report.data)
        total = report.void + int(report.pixels.sum())
        void = f"{report.void / total:.2%}" if total else "-"
        damaged = str(images - report.images_read)
        table.add_row(report.split, str(images), damaged, void, told + more)
    return table


def _class_table(reports: Sequence[SplitReport]) -> Table:
    """Shares of the labelled pixels, images with the class, and weights from the first split."""
    table = Table(title="Classes: share of labelled pixels (images with the class)")
    table.add_column("id", justify="right")
    table.add_column("class")
    for report in reports:
        table.add_column(report.split, justify="right")
    table.add_column(f"weight ({reports[0].split})", justify="right")
    weights: list[float | None] = [None] * reports[0].data.num_classes
    if reports[0].pixels.any():
        weights = class_weights(reports[0].pixels / reports[0].pixels.sum()).tolist()
    for index, (name, weight) in enumerate(zip(reports[0].data.classes, weights, strict=True)):
        cells = []
        for report in reports:
            share = int(report.pixels[index]) / max(1, int(report.pixels.sum()))
            cells.append(f"{share:.2%} ({int(report.images_with[index])})")
        table.add_row(str(index), name, *cells, "-" if weight is None else f"{weight:.3f}")
    return table


def split(args: argparse.Namespace) -> None:
    """Write the lists of a seeded random split of the labelled images."""
    photographs = args.datadir / "JPEGImages"
    images = index_by_stem(photographs, suffixes=IMAGE_SUFFIXES)
    if not images:
        raise FileNotFoundError(f"{photographs}: no .jpg, .jpeg or .png in it")
    folder = args.datadir / "SegmentationClass"
    labels = index_by_stem(folder)
    missing = next((path for key, path in images.items() if key not in labels), None)
    if missing is not None:
        near = near_file(folder / f"{missing.stem}.png", args.datadir, missing)
        raise FileNotFoundError(f"{missing}: image without a label in {folder}{near}")
    _tell_left_out(photographs, images, labels)
    deal = split_folders if args.by_folder else split_names
    splits = deal(list(images), args.ratio, args.seed)
    write_lists(args.datadir, splits)
    _tell_splits(splits, args.datadir)
    if folders := scattered_folders(splits):
        print(f"note: {len(folders)} folder(s), such as {folders[0]}, are in more than one split:")
        print("if their images overlap, scores are too good; --by-folder keeps folders together")


def _tell_left_out(folder: Path, images: Mapping[str, Path], labels: Mapping[str, Path]) -> None:
    """Print notes on images of other formats in `folder`, and on labels without an image."""
    others = [suffix for suffix in READABLE_SUFFIXES if suffix not in IMAGE_SUFFIXES]
    found = {each: index_by_stem(folder, suffixes=(each,)).keys() - images for each in others}
    unread = set().union(*found.values())
    if unread:
        told = ", ".join(suffix for suffix, keys in found.items() if keys)
        print(f"note: {len(unread)} image(s) ({told}) are not read from here: ", end="")
        print("`prepare.py import` converts them")
    if lone := [path for key, path in labels.items() if key not in images and key not in unread]:
        more = f" and {len(lone) - 1} more" if len(lone) > 1 else ""
        print(f"note: {len(lone)} label(s) without an image: {lone[0].name}{more}")


def palette(args: argparse.Namespace) -> None:
    """Turn colour masks into class ids."""
    colours = parse_colours(args.colors)
    count = masks_to_ids(args.input, args.output, colours)
    names = ",".join(name for name in colours if name != "void")
    print(f"{count} masks written to {args.output}; train on them with --classes {names}")


def sugar_beets(args: argparse.Namespace) -> None:
    """Turn the Sugar Beets 2016 folders into VOC layout."""
    pairs, lone_images, lone_labels = find_sugar_beets(args.input)
    splits = convert_sugar_beets(pairs, args.output, args.ratio, args.seed)
    print(f"{len(pairs)} pairs; left out: {lone_images} images without a label, ", end="")
    print(f"{lone_labels} labels without an image")
    _tell_splits(splits, args.output)


def synthetic(args: argparse.Namespace) -> None:
    """Draw fields into a folder in VOC layout."""
    if len(args.count) > len(SPLITS):
        raise ValueError("--count: at most three numbers, of train, val and test")
    counts = args.count + [max(1, args.count[0] // 4)] * (len(SPLITS) - len(args.count))
    if args.workers < 1:
        raise ValueError(f"--workers {args.workers}: at least 1")
    if args.without and args.variety == "beet":
        raise ValueError("--without: fields of --variety beet have no such kinds: leave it out")
    for count in counts:
        check_drawing(args.size, count, args.seed)
    draw = partial(
        draw_sample, args.seed, size=args.size, variety=args.variety, without=args.without
    )
    splits = {
        name: [field_stem(name, index) for index in range(count)]
        for name, count in zip(SPLITS, counts, strict=True)
    }
    with new_folder(args.output) as new, ProcessPoolExecutor(args.workers) as pool:
        (new / "JPEGImages").mkdir()
        (new / "SegmentationClass").mkdir()
        jobs = [
            pool.submit(_write_field, new, draw, name, index)
            for name, count in zip(SPLITS, counts, strict=True)
            for index in range(count)
        ]
        for job in tqdm(jobs, "fields", unit="img", disable=None):
            job.result()
        write_lists(new, splits)
        write_classes(new, Synthetic.classes)
    _tell_splits(splits, args.output)


def _write_field(root: Path, draw: Callable, split: str, index: int) -> None:
    image, label = draw(split, index)
    stem = field_stem(split, index)
    path = root / "JPEGImages" / f"{stem}.jpg"
    Image.fromarray(image).save(path, quality=JPEG_QUALITY, subsampling=0)
    write_label(root / "SegmentationClass" / f"{stem}.png", label, Synthetic.palette)


def _tell_splits(splits: dict[str, list[str]], root: Path) -> None:
    told = ", ".join(f"{name} {len(stems)}" for name, stems in splits.items())
    print(f"{told} in {root}")


def parse_size(text: str) -> tuple[int, int]:
    """Read `HxW`, in pixels; a single number means a square."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text}: not HEIGHTxWIDTH in pixels, as in 256x256")
    return int(match[1]), int(match[2] or match[1])


def build_parser() -> argparse.ArgumentParser:
    """Declare the commands and their flags."""
    parser = OneLineParser(prog="prepare.py", description=__doc__.split(":")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, does, *flags: str) -> argparse.ArgumentParser:
        new = commands.add_parser(name, help=does.__doc__, description=does.__doc__)
        new.set_defaults(run=does)
        if "input" in flags:
            new.add_argument("--input", type=Path, required=True, help="folder to read")
        if "output" in flags:
            new.add_argument("--output", type=Path, required=True, help="folder to make")
        if "ratio" in flags:
            new.add_argument("--ratio", type=float, nargs="+", default=[0.8, 0.1, 0.1],
                             help="shares of train, val and, if given, test")  # fmt: skip
        if "seed" in flags:
            new.add_argument("--seed", type=int, default=0, help="of what is random")
        return new

    checks = command("check", check)
    checks.add_argument("--dataset", default="VOC", help=", ".join(DATASETS))
    checks.add_argument("--datadir", type=Path, help="its folder; Synthetic is drawn without one")
    checks.add_argument("--classes", help="class names, or a file with one per line")
    checks.add_argument("--splits", nargs="+", help="splits to read (default: all there are)")
    imports = command("import", import_data, "input", "output", "seed")
    add_flags(imports)
    imports.add_argument("--ratio", type=float, nargs="+",
                         help="deal anew by these shares (default: the source's splits, or "
                         "0.8 0.1 0.1)")  # fmt: skip
    imports.add_argument("--by-folder", action="store_true",
                         help="keep sub-folders and series whole; the ratio is theirs")  # fmt: skip
    splits = command("split", split, "ratio", "seed")
    splits.add_argument("--datadir", type=Path, required=True,
                        help="folder with JPEGImages and SegmentationClass")  # fmt: skip
    splits.add_argument("--by-folder", action="store_true",
                        help="keep sub-folders whole; the ratio counts folders")  # fmt: skip
    palettes = command("palette", palette, "input", "output")
    palettes.add_argument("--colors", nargs="+", required=True, metavar="NAME=R,G,B",
                          help="in the order of the ids; or a file with one per line; "
                          "void=R,G,B are pixels of no class")  # fmt: skip
    command("sugar-beets", sugar_beets, "input", "output", "ratio", "seed")
    fields = command("synthetic", synthetic, "output", "seed")
    fields.add_argument("--count", type=int, nargs="+", default=[240], metavar="N",
                        help="fields of train, val and test; val and test are a quarter of train "
                        "where left out (default: 240)")  # fmt: skip
    fields.add_argument("--size", type=parse_size, default=Synthetic.default_size,
                        metavar="HxW", help="in pixels (default: 256x256)")  # fmt: skip
    fields.add_argument("--variety", choices=tuple(VARIETIES), default="beet",
                        help="beet: sugar beets and seven weeds; world: crops, weeds, soils, light "
                        "and cameras of all kinds; mixed: both (default: beet)")  # fmt: skip
    fields.add_argument("--without", nargs="+", choices=tuple(KINDS), default=[], metavar="KIND",
                        help="leave out of world and mixed, to see what it gives: "
                        + "; ".join(f"{name}, {what}" for name, what in KINDS.items()))  # fmt: skip
    fields.add_argument("--workers", type=int, default=os.cpu_count(),
                        help="processes that draw (default: one per core)")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Raises:
        ValueError, OSError: invalid input from the user.
    """
    args = build_parser().parse_args(argv)
    return args.run(args) or 0


if __name__ == "__main__":
    run(main)
