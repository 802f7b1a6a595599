"""PASCAL VOC 2012, and any data in its folder layout."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from command_line.notes import note
from conventions.labels import VOID
from datasets.base import (
    DATADIR_HINT,
    IMAGE_SUFFIXES,
    Pairs,
    SegmentationDataset,
    check_classes,
    index_by_stem,
)
from datasets.description import FILE_NAME as DESCRIPTION
from datasets.description import read_description
from datasets.near import contents, near_file
from datasets.palettes import class_palette, make_palette

SPLIT_FOLDER = Path("ImageSets", "Segmentation")
SEARCHED = 3  # missing files for which similar names are searched; each search walks the folder
PASCAL_NAME = re.compile(r"(\d{4}_)?\d{6}")
PASCAL_FOLDER = re.compile(r"VOC\d{4}")
TRAINAUG_HINT = (
    "trainaug is train plus the SBD images (10582 in all) and is not part of VOC: put its list at "
    "{list} and the SBD labels, converted to VOC palette PNGs, into {labels}; or use train"
)


class MissingFilesError(FileNotFoundError):
    """Raised if images or labels in a split's list are missing.

    Attributes:
        told: one line per missing file.
        present: number of complete pairs in the split.
    """

    def __init__(self, told: Sequence[str], present: int) -> None:
        more = f" (and {len(told) - 1} more files are missing)" if len(told) > 1 else ""
        super().__init__(told[0] + more)
        self.told = list(told)
        self.present = present


class VocLayout(SegmentationDataset):
    """`JPEGImages/`, `SegmentationClass/*.png` and `ImageSets/Segmentation/<split>.txt`."""

    splits: tuple[str, ...] = ("train", "val", "trainval", "trainaug")

    def check_split(self) -> None:
        """Find the folder in VOC layout, and the split's list in it."""
        self.root = find_voc_root(self.root)
        if not self.split_list.is_file():
            listed = sorted(path.stem for path in self.split_list.parent.glob("*.txt"))
            advice = f"splits there: {', '.join(listed) or 'none'}"
            if self.split == "trainaug":
                advice = TRAINAUG_HINT.format(
                    list=self.split_list, labels=self.root / "SegmentationClassAug"
                )
            raise FileNotFoundError(f"{self.split_list}: no such split; {advice}")
        self.splits = tuple(sorted(path.stem for path in self.split_list.parent.glob("*.txt")))

    @property
    def split_list(self) -> Path:
        return self.root / SPLIT_FOLDER / f"{self.split}.txt"

    def list_pairs(self) -> Pairs:
        """Pair the files in the split's list, in its order, or raise `MissingFilesError`."""
        image_folder, label_folder = self.root / "JPEGImages", self.root / "SegmentationClass"
        augmented = self.root / "SegmentationClassAug"
        if self.split == "trainaug" and augmented.is_dir():
            label_folder = augmented
        for folder in (image_folder, label_folder):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder}: no such directory; found: {contents(self.root)}; rename what is "
                    "meant, or let `python datasets/prepare.py import` bring it into this layout"
                )
        images = index_by_stem(image_folder, suffixes=IMAGE_SUFFIXES)
        labels = index_by_stem(label_folder)
        pairs: Pairs = []
        missing: list[str] = []
        for name in read_split(self.split_list):
            if name not in images:
                wanted = image_folder / f"{name}.jpg"
                near = near_file(wanted, image_folder) if len(missing) < SEARCHED else ""
                missing.append(
                    f"{wanted}: no such image (nor .jpeg, .png){near}; {self.split_list} "
                    "names it: copy it there, or take the name out"
                )
            elif name not in labels:
                wanted = label_folder / f"{name}.png"
                near = ""
                if len(missing) < SEARCHED:
                    near = near_file(wanted, self.root, images[name])
                missing.append(
                    f"{images[name]}: image without a label, {wanted} is missing{near}"
                    f"{_rename(near)}"
                )
            else:
                pairs.append((images[name], labels[name]))
        if missing:
            raise MissingFilesError(missing, present=len(pairs))
        return pairs


def _rename(near: str) -> str:
    """Advice for a label with a similar name; JPEGs are useless, as compression changes ids."""
    if not near:
        return ""
    return "; labels are PNG files" if near.endswith((".jpg)", ".jpeg)")) else "; rename it"


class VOC(VocLayout):
    """PASCAL VOC 2012 (Everingham et al. 2010); with `classes`, a user's own data."""

    name = "VOC"
    classes: tuple[str, ...] = (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
        "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
        "sheep", "sofa", "train", "tvmonitor",
    )  # fmt: skip
    palette = make_palette(21)

    def set_classes(self, classes: Sequence[str]) -> None:
        """Set any class names: VOC fixes the folder layout only."""
        self.classes = check_classes(tuple(classes))
        self.palette = class_palette(self.classes)

    def check_split(self) -> None:
        """Read `dataset.yaml` for classes that no flag gives; raise on own data without any."""
        super().check_split()
        described = read_description(self.root)
        if described is None:
            if "classes" not in vars(self):
                check_pascal(self.root, read_split(self.split_list))
            return
        if "classes" not in vars(self):
            self.classes, self.palette = described.classes, described.palette
        elif self.classes == described.classes:
            self.palette = described.palette
        else:
            note(f"--classes {','.join(self.classes)} overrules {self.root / DESCRIPTION}")
        if described.ignore >= len(self.classes):
            ids = {index: index for index in range(len(self.classes))}
            self.label_ids = ids | {described.ignore: VOID, VOID: VOID}


def check_pascal(root: Path, names: Sequence[str]) -> None:
    """Raise on a user's own data without class names; PASCAL VOC's images have numbered names.

    Raises:
        ValueError: neither the images nor the folder are named as in PASCAL VOC.
    """
    if all(PASCAL_NAME.fullmatch(name) for name in names):
        return
    advice = (
        f"name them in the order of their ids with --classes soil,crop,weed, or in "
        f"{root / DESCRIPTION} as `classes: [soil, crop, weed]`"
    )
    if not PASCAL_FOLDER.fullmatch(root.resolve().name):
        raise ValueError(f"{root}: own data in VOC layout, but of which classes? {advice}")
    note(f"{root}: taken for PASCAL VOC with its 21 classes. For your own data, {advice}")


def find_voc_root(root: Path) -> Path:
    """Find the folder with `ImageSets/Segmentation`: the root, `VOC2012` or `VOCdevkit/VOC2012`.

    Raises:
        FileNotFoundError: the root does not exist, or has none of these in it.
        NotADirectoryError: the root is a file.
    """
    if root.is_file():
        raise NotADirectoryError(f"{root}: a file, not a folder; unpack it if it is an archive")
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such directory; {DATADIR_HINT}")
    for inner in ("", "VOC2012", "VOCdevkit/VOC2012"):
        if (root / inner / SPLIT_FOLDER).is_dir():
            return root / inner
    raise FileNotFoundError(
        f"{root}: not in VOC layout, no {SPLIT_FOLDER.as_posix()} in it, in VOC2012 or in "
        f"VOCdevkit/VOC2012; found: {contents(root)}; needed: JPEGImages/a.jpg, "
        "SegmentationClass/a.png and ImageSets/Segmentation/train.txt; `python datasets/prepare.py "
        "split` makes the lists, `import` brings other layouts into this one"
    )


def read_split(path: Path) -> list[str]:
    """Read the names in a split's list; see `listed_names`.

    Raises:
        ValueError: a name is listed twice.
    """
    names = listed_names(path)
    if len(set(names)) < len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: names {doubled!r} more than once; leave one")
    return names


def listed_names(path: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[str]:
    """Names in a list, one per line; any of these suffixes is removed from them."""
    names = []
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        name = line.strip()
        if Path(name).suffix.lower() in suffixes:
            name = name[: -len(Path(name).suffix)]
        if name:
            names.append(unicodedata.normalize("NFC", name))
    return names
