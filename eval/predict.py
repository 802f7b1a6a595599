"""Segment photographs and videos: label maps, overlays and a table of each class's share.

    python eval/predict.py --state runs/student-SegformerB0-CWFID --input photos --output masks

All results have the size of their source, as viewers show it (EXIF orientation applied).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from command_line.arguments import probability
from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.notes import note
from command_line.outputs import check_unused
from command_line.progress import progress
from datasets.cityscapes import Cityscapes
from datasets.reading import is_faint
from datasets.suspicions import faint_images
from eval.exported.opening import load_network
from eval.flags.inference import add_inference_flags, add_precision, choose_inference
from eval.flags.photographs import (
    add_network_flags,
    add_source_flags,
    describe_classes,
)
from eval.photographs.prediction_files import RESULTS, TABLE, PredictionFiles
from eval.photographs.predictor import Predictor
from eval.photographs.sources import (
    Source,
    count_frames,
    find_sources,
    read_frames,
    report_unread,
)
from eval.subject import choose_preprocessing


def main() -> int:
    """Run the command line; the exit status is 1 if a file was left out."""
    args = build_parser().parse_args()
    inference = choose_inference(args)
    device = choose_device(args.device, args.cpu)
    sources = find_sources(args.input, args.output)
    if not args.overwrite:
        check_unused((args.output / name for name in RESULTS), "--output")
    model, info = load_network(args, device)
    classes, palette = describe_classes(args, info, model)
    if args.official and tuple(classes) != Cityscapes.classes:
        raise ValueError(
            f"--official cityscapes: {args.state} has other classes ({', '.join(classes)}); if "
            "they only lack their names, add --dataset Cityscapes"
        )
    predictor = Predictor(model, choose_preprocessing(args, info), inference, device)
    files = PredictionFiles(args.output, classes, palette, args.opacity, bool(args.official))
    failed = report_unread(args.input, args.output, sources)
    if args.overwrite:
        files.remove_earlier()
    try:
        failed += predict(predictor, sources, files, args)
    finally:  # also on Ctrl-C, so that the table covers what was written
        files.write_table()
        if files.pixels and args.opacity:
            files.write_legend()
    print(f"{len(files.pixels)} images segmented, {failed} files left out: {args.output}")
    if files.pixels:
        cover = ", ".join(f"{name} {share:.2f} %" for name, share in files.mean_cover().items())
        print(f"mean cover: {cover} ({args.output / TABLE})")
    return 1 if failed else 0


def predict(
    predictor: Predictor,
    sources: Sequence[Source],
    files: PredictionFiles,
    args: argparse.Namespace,
) -> int:
    """Segment all sources; report failures, and return their number."""
    failed, faint = set(), []
    paths = {source.name: source.path for source in sources}  # but not of frames of videos
    total = count_frames(sources, args.every)
    with progress("predict", "image", total) as bar:
        for name, image in read_frames(sources, args.every):
            try:
                if isinstance(image, Exception):
                    raise image
                label, confidence = predictor(image, args.confidence)
            except (ValueError, OSError) as error:
                message = str(error) if isinstance(image, Exception) else f"{name}: {error}"
                bar.write(f"left out: {' '.join(message.split())}", file=sys.stderr)
                failed.add(name)
            else:
                if name in paths and is_faint(paths[name], image):
                    faint.append(paths[name])
                files.write(name, image.permute(1, 2, 0).numpy(), label, confidence)
            bar.update()
    for told in faint_images(faint):
        note(told)
    return len(failed)


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = OneLineParser(description="Segment photographs and videos.")
    add_network_flags(parser)
    files = parser.add_argument_group("files")
    add_source_flags(files)
    files.add_argument(
        "--opacity", type=probability, default=0.5, help="of the overlays' colours; 0: no overlays"
    )
    files.add_argument(
        "--confidence",
        action="store_true",
        help="also grey maps of how sure the network is, 255 for 1",
    )
    files.add_argument(
        "--official",
        choices=("cityscapes",),
        help="also PNGs of label ids in label_ids/, as the Cityscapes server takes them",
    )
    inference = parser.add_argument_group("inference")
    add_inference_flags(inference)
    add_precision(inference)
    parser.show_first("--opacity", "--overwrite", "--image-size", "--device")
    return parser


if __name__ == "__main__":
    run(main)
