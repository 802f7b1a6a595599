"""Writing data sets in VOC layout, atomically."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from command_line.outputs import check_writable
from datasets.description import describe, write_description
from datasets.reading import Colour
from datasets.series import by_series
from datasets.voc import SPLIT_FOLDER

SPLIT_NAMES = ("train", "val", "test")
VOID_COLOUR = (224, 224, 192)  # as in PASCAL VOC


def refuse_filled(path: Path) -> None:
    """Raise if an output exists and is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"--output {path}: exists already; remove it or choose another folder")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that is renamed to `path` on success, and deleted on failure.

    Raises:
        ValueError: `path` exists and is not an empty folder.
        OSError: it cannot be created or written to.
    """
    refuse_filled(path)
    check_writable(path, "--output")
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        content = holder / "content"  # with default permissions, unlike mkdtemp's
        content.mkdir()
        yield content
        if path.exists():
            path.rmdir()
        content.rename(path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def split_names(
    names: Sequence[str], ratio: Sequence[float], seed: int, what: str = "images"
) -> dict[str, list[str]]:
    """Split names at random into train, val and, if there is a third share, test.

    The result depends on the names and the seed, not on the order of the names.

    Raises:
        ValueError: not two or three positive shares, a negative seed, or an empty split.
    """
    told = " ".join(f"{share:g}" for share in ratio)
    if len(ratio) not in (2, 3) or not all(0 < share < float("inf") for share in ratio):
        raise ValueError(f"--ratio {told}: give two or three positive shares, as in 0.8 0.1 0.1")
    if seed < 0:
        raise ValueError(f"--seed {seed}: not negative")
    ends = np.round(np.cumsum(ratio) / np.sum(ratio) * len(names)).astype(int)
    shuffled = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    splits = {}
    for name, start, end in zip(SPLIT_NAMES, [0, *ends], ends, strict=False):
        splits[name] = sorted(shuffled[start:end])
        if not splits[name]:
            advice = (
                "give it a larger share, as in --ratio" + " 1" * len(ratio)
                if len(names) >= len(ratio)
                else "label more"
            )
            raise ValueError(
                f"--ratio {told}: leaves {name} empty, there are {len(names)} {what}; {advice}"
            )
    return splits


def split_folders(names: Sequence[str], ratio: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Split names such as `field/day/image` by whole folders; the shares count folders.

    Photographs of one drive show the same plants repeatedly: split one by one, they would leak
    training images into the test split. Names in a single folder are split by series
    (`drive1_0001`, `drive1_0002`), and a single series is cut into contiguous parts.

    Raises:
        ValueError: as `split_names`.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(PurePosixPath(name).parent.as_posix(), []).append(name)
    if len(groups) == 1:
        groups = by_series(names)
        if len(groups) == 1:
            return _cut(next(iter(groups.values())), ratio, seed)
    dealt = split_names(list(groups), ratio, seed, "folders or series")
    return {
        split: sorted(name for group in part for name in groups[group])
        for split, part in dealt.items()
    }


def _cut(series: Sequence[str], ratio: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Cut a series into train, val and test in the order of its numbers."""
    dealt = split_names(series, ratio, seed)  # for its checks and the sizes of the splits
    rest, splits = list(series), {}
    for split, part in dealt.items():
        splits[split], rest = sorted(rest[: len(part)]), rest[len(part) :]
    return splits


def scattered_folders(splits: Mapping[str, Sequence[str]]) -> list[str]:
    """List the sub-folders whose images are in more than one split."""
    seen = Counter(
        folder
        for names in splits.values()
        for folder in {PurePosixPath(name).parent.as_posix() for name in names}
    )
    return sorted(folder for folder, count in seen.items() if count > 1 and folder != ".")


def write_lists(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write `ImageSets/Segmentation/<split>.txt`, one name per line.

    Raises:
        ValueError: a list exists already; then nothing is written.
    """
    folder = root / SPLIT_FOLDER
    for name in splits:
        if (folder / f"{name}.txt").exists():
            raise ValueError(f"{folder / name}.txt: exists already; move it away to split anew")
    folder.mkdir(parents=True, exist_ok=True)
    for name, stems in splits.items():
        temporary = folder / f"{name}.txt.tmp"
        temporary.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
        temporary.replace(folder / f"{name}.txt")


def write_label(path: Path, label: np.ndarray, palette: Sequence[Colour]) -> None:
    """Write class ids, uint8 (H, W), as a palette PNG."""
    # All 256 colours: with a shorter palette Pillow writes fewer bits, which lose void (255).
    colours = [*palette, *[(0, 0, 0)] * (255 - len(palette)), VOID_COLOUR]
    image = Image.fromarray(label)
    image.putpalette([channel for colour in colours for channel in colour])  # L becomes P
    image.save(path, format="PNG")  # explicit, as the path may be a temporary one


def write_classes(root: Path, classes: Sequence[str]) -> None:
    """Write `dataset.yaml`, which commands read, and `classes.txt`, for `--classes` elsewhere."""
    write_description(root, describe(classes))
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
