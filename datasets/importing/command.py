"""`prepare.py import`: converts the export of a labelling tool to VOC layout."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from command_line.notes import note
from command_line.outputs import check_target
from conventions.labels import VOID
from datasets.base import parse_classes
from datasets.conversion import parse_colours
from datasets.description import describe, write_description
from datasets.importing.classes import Classes, plan
from datasets.importing.dealing import deal, name_samples
from datasets.importing.formats import FORMATS, recognise
from datasets.importing.places import Export
from datasets.importing.preview import SHOWN, write_preview
from datasets.importing.records import Request, Source
from datasets.importing.writer import Tally, convert, draw
from datasets.layout import new_folder, refuse_filled, write_lists
from datasets.suspicions import BINARY_ADVICE, faint_images, names_in_doubt


def import_data(args: argparse.Namespace) -> None:
    """Bring what a labelling tool exported into VOC layout."""
    request = Request(
        args.input,
        args.images,
        args.masks,
        args.classes,
        {c: name for name, c in parse_colours(args.colors).items()} if args.colors else None,
    )
    refuse_filled(args.output)
    export = Export(request)
    kind = args.format or recognise(export)
    source = FORMATS[kind].read(export)
    if not source.samples:
        raise ValueError(
            f"--input {args.input}: no labelled image in it; found {export.summary()}; needed: "
            f"{FORMATS[kind].needs}"
        )
    wanted = parse_classes(args.classes) if _orders_classes(args, kind, source) else None
    classes = plan(source, args.map, args.ignore, args.background, wanted)
    names = name_samples(export, source.samples)
    given = [sample.split for sample in source.samples]
    splits, origin = deal(names, given, args.ratio, args.seed, args.by_folder)
    print(f"format: {kind}; {len(names)} images; {origin}")
    if not source.has_masks:  # a mask is an image itself, and one that is missing is an error
        _note_unlabelled(export, source)
    _tell_classes(source, classes)
    if args.dry_run:
        preview = args.output.with_name(f"{args.output.name}-preview.png")
        check_target(preview, "--output")
        tallies = convert(source, names, splits, classes, (), None)
        refuse_bare(args.input, tallies, source, classes)
        _preview(preview, source, names, classes)
        _tell(tallies, source, classes)
        print(f"nothing imported (--dry-run); look at {preview}")
        return
    description = describe(classes.names)
    with new_folder(args.output) as new:
        tallies = convert(source, names, splits, classes, description.palette, new)
        refuse_bare(args.input, tallies, source, classes)
        write_lists(new, splits)
        write_description(new, description)
        _preview(new / "preview.png", source, names, classes)
    _tell(tallies, source, classes)
    print(f"written to {args.output}; look at {args.output / 'preview.png'}, then run")
    print(f"prepare.py check --datadir {args.output}, and train with --datadir {args.output}")


def refuse_bare(path: Path, tallies: Mapping[str, Tally], source: Source, classes: Classes) -> None:
    """Raise if all pixels are background or void.

    Raises:
        ValueError: no other class has a pixel.
    """
    pixels: Counter = sum((tally.pixels for tally in tallies.values()), Counter())
    ground = {VOID, 0 if source.has_masks else classes.unlabelled}
    if set(+pixels) - ground:
        return
    if {0, VOID} <= (+pixels).keys() and source.has_masks:
        advice = BINARY_ADVICE
    elif source.left_out:
        told = ", ".join(f"{count} {what}" for what, count in source.left_out.items())
        advice = f"{told} have no area: export polygons or masks"
    else:
        advice = "are these the labels?"
    absent = [name for index, name in enumerate(classes.names) if not pixels[index]]
    raise ValueError(f"--input {path}: no pixel of {', '.join(absent)} in any image; {advice}")


def _orders_classes(args: argparse.Namespace, kind: str, source: Source) -> bool:
    """Whether --classes gives the order of named classes, rather than names for ids."""
    return args.classes is not None and kind != "yolo" and not source.has_masks


def _note_unlabelled(export: Export, source: Source) -> None:
    """Print how many images no sample is of."""
    labelled = {os.path.abspath(sample.image) for sample in source.samples}
    bare = [path for path in export.images if os.path.abspath(path) not in labelled]
    if bare:
        note(f"{len(bare)} image(s) without labels left out, such as {bare[0]}")


def _preview(path: Path, source: Source, names: Sequence[str], classes: Classes) -> None:
    """Draw one sample from each third of the data: with most regions, or the middle one."""
    count = min(SHOWN, len(names))
    bounds = [round(part * len(names) / count) for part in range(count + 1)]
    shown = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        chosen = max(
            range(start, end),
            key=lambda index: (
                len(source.samples[index].regions or ()),
                -abs(2 * index - start - end),
            ),
        )
        image, label, _ = draw(source.samples[chosen], source, classes)
        shown.append((names[chosen], image, label))
    write_preview(path, shown, classes.names, describe(classes.names).palette)


def _tell_classes(source: Source, classes: Classes) -> None:
    """Print the names that are renamed or merged, and the values that become void."""
    merged: dict[str, list[str]] = {}
    for name, index in classes.ids.items():
        target = "void" if index == VOID else classes.names[index]
        if target != name:
            merged.setdefault(target, []).append(name)
    for target, names in merged.items():
        print(f"{target}: from {', '.join(names)}")
    if source.values is not None:
        dropped = sorted(v for v, i in classes.values.items() if i == VOID and v != VOID)
        if dropped:
            print(f"void: from value(s) {', '.join(map(str, dropped))}")


def _tell(tallies: Mapping[str, Tally], source: Source, classes: Classes) -> None:
    """Print splits, classes, sizes, and notes on what is unusual."""
    table = Table(title="Share of pixels (images with the class)")
    table.add_column("id", justify="right")
    table.add_column("class")
    for split, tally in tallies.items():
        table.add_column(f"{split}, {tally.images} images", justify="right")
    for index, name in [*enumerate(classes.names), (VOID, "void")]:
        cells = [
            f"{tally.pixels[index] / max(1, tally.pixels.total()):.2%} ({tally.images_with[index]})"
            for tally in tallies.values()
        ]
        table.add_row(str(index), name, *cells)
    Console().print(table)
    sizes: Counter = sum((tally.sizes for tally in tallies.values()), Counter())
    told = ", ".join(f"{w} x {h} ({n})" for (h, w), n in sizes.most_common(3))
    more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
    print(f"sizes (width x height): {told}{more}")
    for line in _notes(tallies, source, classes):
        print(f"note: {line}")


def _notes(tallies: Mapping[str, Tally], source: Source, classes: Classes) -> list[str]:
    notes = [
        f"{count} {what} left out: they have no area" for what, count in source.left_out.items()
    ]
    notes += names_in_doubt(classes.names)
    notes += faint_images([path for tally in tallies.values() for path in tally.faint])
    regions: Counter = sum((tally.regions for tally in tallies.values()), Counter())
    if regions["clipped"]:
        notes.append(f"{regions['clipped']} polygons reach out of their image and were clipped")
    if regions["empty"]:
        notes.append(f"{regions['empty']} regions cover no pixel")
    train = next(iter(tallies.values()))
    absent = [name for index, name in enumerate(classes.names) if not train.pixels[index]]
    if absent:
        notes.append(f"no pixel of {', '.join(absent)} in train: a network cannot learn them")
    bare = sum(sample.regions == () for sample in source.samples)
    if bare:
        notes.append(f"{bare} of {len(source.samples)} images have no region: all background")
    return notes


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags other than --input, --output and those of splitting."""
    add = parser.add_argument
    add("--format", choices=list(FORMATS), help="default: recognised by the files")
    add("--classes", help="names in the order of the ids, a file with one per line, or the values "
        "of masks: 0=soil,255=plant")  # fmt: skip
    add("--colors", nargs="+", metavar="NAME=R,G,B", help="what the colours of masks mean, or a "
        "file with one per line")  # fmt: skip
    add("--map", metavar="NAME=CLASS,...", help="rename and merge classes: carrot=crop,*=weed")
    add("--ignore", nargs="+", default=[], metavar="NAME", help="classes, or values of masks, that "
        "do not count")  # fmt: skip
    add("--background", metavar="NAME", help="class of pixels that no polygon covers (default: "
        "background); void leaves them out")  # fmt: skip
    add("--images", type=Path, metavar="DIR", help="where the images are, if not in --input")
    add("--masks", type=Path, metavar="DIR", help="where the masks are, if several folders fit")
    add("--dry-run", action="store_true", help="show what was found, and write OUTPUT-preview.png "
        "alone")  # fmt: skip
