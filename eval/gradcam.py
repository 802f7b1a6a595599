"""Show where a network looks: class activation maps of any encoder stage, overlaid on the images.

    python eval/gradcam.py --state runs/student-SegformerB0-CWFID --input photos --output cams \
        --class weed --stage 1 2 3 4

A map shows how much each position of a stage's features raises the logits of a class, summed over
the pixels predicted as that class (Selvaraju et al., Grad-CAM, ICCV 2017, for segmentation as in
Vinogradova et al., AAAI 2020), or over all pixels if there are none.
"""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from command_line.cli import OneLineParser, run
from command_line.device import choose_device
from command_line.memory import memory_advice
from command_line.outputs import check_folder, check_unused, replacing
from command_line.progress import progress
from datasets.transforms import normalize
from eval.flags.photographs import add_network_flags, add_source_flags, describe_classes
from eval.inference import WHOLE, upsample_argmax
from eval.photographs.predictor import Predictor
from eval.photographs.sources import (
    Source,
    count_frames,
    find_sources,
    read_frames,
    report_unread,
)
from eval.reporting.pictures import titled_row
from eval.subject import choose_preprocessing
from models import Segmenter, load_checkpoint
from models.encoder import MIN_SIZE

METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigengradcam": "EigenGradCAM",
}
STAGES = (1, 2, 3, 4)
FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # in file names, on some operating system


def main() -> int:
    """Run the command line; the exit status is 1 if a file was left out."""
    args = build_parser().parse_args()
    device = choose_device(args.device, args.cpu)
    sources = find_sources(args.input, args.output)
    model, info = load_checkpoint(args.state, model=args.model, map_location=device)
    names, _ = describe_classes(args, info, model)
    shown = choose_classes(args.shown, names)
    predictor = Predictor(model, choose_preprocessing(args, info), WHOLE, device)
    cams = StageCams(predictor, args.stage, args.method)
    check_folder(args.output, "--output")
    files = CamFiles(args.output, [names[index] for index in shown], args.stage)
    if not args.overwrite:
        check_unused(files.earlier(sources), "--output")
    written, failed = 0, report_unread(args.input, args.output, sources)
    with progress("gradcam", "image", count_frames(sources, args.every)) as bar:
        for name, image in read_frames(sources, args.every):
            try:
                if isinstance(image, Exception):
                    raise image
                with memory_advice("needs more memory than there is: a smaller --image-size"):
                    drawn = {names[index]: cams(image, index) for index in shown}
            except (ValueError, OSError) as error:
                message = str(error) if isinstance(image, Exception) else f"{name}: {error}"
                bar.write(f"left out: {' '.join(message.split())}", file=sys.stderr)
                failed += 1
            else:
                files.write(name, image.permute(1, 2, 0).numpy(), drawn)
                written += len(drawn)
            bar.update()
    print(f"{written} pictures, {failed} files left out: {args.output}")
    return 1 if failed else 0


class CamFiles:
    """Writes one picture per image and class; its file name contains the class and the stages.

    Args:
        folder: output folder.
        classes: names of the explained classes.
        stages: encoder stages, 1 to 4.
    """

    def __init__(self, folder: Path, classes: Sequence[str], stages: Sequence[int]) -> None:
        self.folder = folder
        ending = "-".join(map(str, stages))
        self.endings = {name: f"_{FORBIDDEN.sub('-', name)}_stage{ending}.png" for name in classes}

    def earlier(self, sources: Iterable[Source]) -> Iterator[Path]:
        """Yield the paths that `write` may overwrite."""
        for source, ending in product(sources, self.endings.values()):
            if source.is_video:
                yield from (self.folder / source.name).glob(f"*{ending}")
            else:
                yield self.folder / f"{source.name}{ending}"

    def write(
        self, name: str, image: np.ndarray, cams: Mapping[str, Mapping[int, np.ndarray]]
    ) -> None:
        """Write the image with the maps of all stages beside it, per class; all (H, W, 3) uint8."""
        for shown, stages in cams.items():
            maps = {f"{shown}, stage {stage}": picture for stage, picture in stages.items()}
            with replacing(self.folder / f"{name}{self.endings[shown]}") as temporary:
                row = titled_row({"image": image, **maps})
                Image.fromarray(row).save(temporary, format="PNG")


class StageCams:
    """Class activation maps of the features of encoder stages.

    Args:
        predictor: the network and its image preparation.
        stages: encoder stages, 1 to 4.
        method: one of `METHODS`.

    Raises:
        ValueError: the library grad-cam is not installed.
    """

    def __init__(self, predictor: Predictor, stages: Sequence[int], method: str) -> None:
        try:
            import pytorch_grad_cam
        except ImportError as error:
            raise ValueError(f"gradcam.py needs: pip install grad-cam ({error})") from error
        self.cams = pytorch_grad_cam
        self.kind = getattr(pytorch_grad_cam, METHODS[method])
        self.predictor = predictor
        self.stages = stages

    def __call__(self, image: Tensor, class_index: int) -> dict[int, np.ndarray]:
        """Draw the map of each stage over an image, (3, H, W) uint8.

        Returns:
            Overlays by stage, (H, W, 3) uint8 RGB: blue is 0, red the stage's largest value.
        """
        pixels = image.permute(1, 2, 0).numpy() / np.float32(255)
        return {
            stage: self.cams.utils.image.show_cam_on_image(pixels, weights, use_rgb=True)
            for stage, weights in self.maps(image, class_index).items()
        }

    def maps(self, image: Tensor, class_index: int) -> dict[int, np.ndarray]:
        """Return the map of each stage, (H, W) float32 in 0..1, for an image (3, H, W) uint8.

        Raises:
            ValueError: the image is too small for the network.
        """
        model, preprocessing = self.predictor.model, self.predictor.preprocessing
        assert isinstance(model, Segmenter)
        prepared = self.predictor.prepare(image)
        if min(prepared.shape[-2:]) < MIN_SIZE:
            raise ValueError(f"an image of less than {MIN_SIZE} px shows nothing to explain")
        inputs = normalize(prepared, preprocessing)
        with torch.no_grad():
            mask = upsample_argmax(model(inputs))[0] == class_index
        mask = mask if mask.any() else torch.ones_like(mask)
        maps = {}
        for stage in self.stages:
            stride = model.encoder.strides[stage - 1]
            size = tuple(-(-side // stride) for side in inputs.shape[-2:])
            with (
                warnings.catch_warnings(),
                self.kind(
                    model,
                    [model.encoder.stage_norm(stage)],
                    reshape_transform=lambda features, size=size: channels_first(features, size),
                ) as cam,
            ):
                warnings.simplefilter("ignore")  # the library warns about all-zero maps
                values = cam(inputs, [lambda logits: logits[class_index][mask].sum()])[0]
            maps[stage] = resize_map(values, image.shape[-2:])
        return maps


def channels_first(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Reshape the output of a stage's norm, (B, h, w, C) or (B, h * w, C), to (B, C, h, w)."""
    return features.reshape(features.shape[0], *size, -1).permute(0, 3, 1, 2)


def resize_map(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize a map bilinearly to (H, W)."""
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def choose_classes(wanted: Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """Return the ids of `--class`; by default all but the first, which is the background.

    Raises:
        ValueError: the network has no such class.
    """
    if wanted is None:
        return list(range(1, len(names))) or [0]
    known = [name.casefold() for name in names]
    for name in wanted:
        if name.casefold() not in known:
            raise ValueError(f"--class {name}: unknown; known: {', '.join(names)}")
    return [known.index(name.casefold()) for name in wanted]


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = OneLineParser(description="Show where a network looks, by class and stage.")
    add_network_flags(parser)
    files = parser.add_argument_group("files")
    add_source_flags(files)
    what = parser.add_argument_group("what")
    what.add_argument(
        "--class",
        dest="shown",
        nargs="+",
        metavar="NAME",
        help="classes to explain (default: all but the first)",
    )
    what.add_argument(
        "--stage", type=int, nargs="+", choices=STAGES, default=[1, 4],
        help="encoder stages, from fine to coarse (default: 1 4)",
    )  # fmt: skip
    what.add_argument(
        "--method", choices=list(METHODS), default="gradcam", help="(default: gradcam)"
    )
    parser.show_first("--class", "--stage", "--overwrite", "--device")
    return parser


if __name__ == "__main__":
    run(main)
