"""Base of all data sets: pairing images with labels, reading them, checking them."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from conventions.labels import UNLABELLED, VOID
from datasets.files import files_below
from datasets.reading import Colour, map_colours, map_ids, read_image, read_indices, tell_values

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LABEL_SUFFIXES = (".png",)
MAX_CLASSES = UNLABELLED  # ids are stored in 8 bits, and 254 and 255 are reserved
PLANT_CLASSES = ("soil", "crop", "weed")
PLANT_PALETTE = ((0, 0, 0), (0, 255, 0), (255, 0, 0))
DATADIR_HINT = "pass the data set's folder with --datadir"

Pairs = list[tuple[Path, Path]]


class LabelSpace(NamedTuple):
    """Ids in the label maps under a protocol.

    Attributes:
        outputs: number of ids that a network may predict, K; includes void if void is an output.
        ignored: the id that is not scored.
    """

    outputs: int
    ignored: int


class Sample(TypedDict):
    """An image uint8 (3, H, W) RGB with its label uint8 (H, W) and its name.

    `replaced` is 1 if the sample stands in for one that could not be read, see `TolerantDataset`;
    `index` and `view` say which image a view shows and which part of it, see `ViewedDataset`.
    """

    image: Tensor
    label: Tensor
    name: str
    replaced: NotRequired[int]
    index: NotRequired[int]
    view: NotRequired[Tensor]


class SegmentationDataset(Dataset[Sample]):
    """Pairs of image and label map; a subclass declares its classes and lists its pairs.

    `dataset[i]` is `{"image": uint8 (3, H, W) RGB, "label": uint8 (H, W), "name": str}`; the name,
    one of `names`, is the stem of the image file, preceded by its sub-folders if stems repeat.

    Args:
        root: the data set's folder.
        split: one of `splits`.
        transform: joint transform of image and label, uint8 (3, H, W) and (H, W).
        classes: class names, for data sets whose classes the user defines.

    Raises:
        FileNotFoundError: the folder, the split, or the partner of an image is missing.
        ValueError: unknown split name, or class names that do not fit.
    """

    name: ClassVar[str]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    # Whether the last output of published networks is void: see `label_space`.
    void_output: ClassVar[bool] = False
    splits: tuple[str, ...]
    default_train_split: ClassVar[str] = "train"
    default_val_split: ClassVar[str] = "val"
    label_ids: Mapping[int, int] | None = None  # raw value -> class id, if they differ
    label_colours: Mapping[Colour, int] | None = None  # colour -> class id, for RGB annotations

    def __init__(
        self,
        root: str | Path | None,
        split: str,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        classes: str | Sequence[str] | None = None,
    ) -> None:
        if root is None:
            raise ValueError(f"{self.name}: where is it? {DATADIR_HINT}")
        self.root = Path(root)
        self.split = split
        self.transform = transform
        self.in_memory: dict[int, tuple[Tensor, Tensor]] = {}  # see datasets/cache.py
        if classes is not None:
            self.set_classes(parse_classes(classes) if isinstance(classes, str) else classes)
        self.check_split()
        self.pairs = self.list_pairs()
        if not self.pairs:
            raise FileNotFoundError(f"{self.root}: split {split!r} of {self.name} is empty")
        self.names = name_images([image for image, _ in self.pairs])

    def list_pairs(self) -> Pairs:
        """List the (image, label) files of `self.split` under `self.root`."""
        raise NotImplementedError

    def set_classes(self, classes: Sequence[str]) -> None:
        """Set the user's class names; in the base class they must be the data set's own."""
        if [name.casefold() for name in classes] != [name.casefold() for name in self.classes]:
            raise ValueError(
                f"--classes: {self.name} has its own {len(self.classes)} classes "
                f"({', '.join(self.classes)}); for other classes use --dataset VOC"
            )

    def check_split(self) -> None:
        """Raise on a missing root or an undeclared split."""
        if self.split not in self.splits:
            raise ValueError(
                f"{self.name} has no split {self.split!r}; known: {', '.join(self.splits)}"
            )
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root}: no such directory; {DATADIR_HINT}")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @classmethod
    def adds_void(cls, outputs: int) -> bool:
        """Whether a network of so many outputs has one for void beside these classes."""
        return cls.void_output and outputs == len(cls.classes) + 1

    def label_space(self, protocol: str) -> LabelSpace:
        """Return the ids in label maps under `--protocol` standard or paper.

        The published protocol assigns void pixels to the last output. If that output is reserved
        for void, they are not scored, and predicting it on a labelled pixel is an error.
        """
        if protocol == "paper" and self.void_output:
            return LabelSpace(self.num_classes + 1, self.num_classes)
        return LabelSpace(self.num_classes, VOID)

    def condition(self, index: int) -> str | None:
        """Return the weather or light of a sample; None if the data set does not record it."""
        return None

    def ids_of(self, path: Path) -> Mapping[int, int]:
        """Return the mapping from raw values of a label file to class ids."""
        if self.label_ids is not None:
            return self.label_ids
        return {i: i for i in (*range(self.num_classes), VOID)}

    def hint(self, path: Path, values: Sequence[int]) -> str:
        """Return advice for a label file with these values outside the class list."""
        return (
            f"expected 0 to {self.num_classes - 1} or {VOID} "
            f"({', '.join(self.classes)}); correct the label or give the right --classes"
        )

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Read image, uint8 (3, H, W), and label, uint8 (H, W), without the transform.

        Raises:
            FileNotFoundError: a file no longer exists.
            ValueError: a file is damaged, the sizes differ, or the label has values outside the
                class list.
        """
        image_path, label_path = self.pairs[index]
        image, label = read_image(image_path), self.read_label(label_path)
        if image.shape[1:] != label.shape:
            raise ValueError(
                f"{label_path}: label is {_size(label)}, its image {image_path} is {_size(image)} "
                "(width x height, EXIF orientation applied): export it at the image's size"
            )
        return image, label

    def read_label(self, path: Path) -> Tensor:
        """Read one label file as class ids, uint8 (H, W)."""
        if self.label_colours is not None:
            colours = read_image(path)
            label, wrong = map_colours(colours, self.label_colours)
            if wrong.any():
                self._refuse_colours(path, colours, wrong)
        else:
            values = read_indices(path)
            label, wrong = map_ids(values, self.ids_of(path))
            if wrong.any():
                self._refuse_values(path, values, wrong)
        return torch.from_numpy(label)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if index in self.in_memory:  # cloned, as a transform may work in place
            image, label = (tensor.clone() for tensor in self.in_memory[index])
        else:
            image, label = self.read(index)
        if self.transform is not None:
            image, label = self.transform(image, label)
        return {"image": image, "label": label, "name": self.names[index]}

    def _refuse_values(self, path: Path, values: np.ndarray, wrong: np.ndarray) -> None:
        raise ValueError(
            f"{path}: label values outside the class list: {tell_values(values[wrong])}; "
            f"{self.hint(path, np.unique(values[wrong]).tolist())}"
        )

    def _refuse_colours(self, path: Path, colours: Tensor, wrong: np.ndarray) -> None:
        assert self.label_colours is not None
        pixels = colours.numpy().transpose(1, 2, 0)[wrong]
        found, counts = np.unique(pixels, axis=0, return_counts=True)
        known = ", ".join(f"{self.classes[i]} {c}" for c, i in self.label_colours.items())
        raise ValueError(
            f"{path}: {len(pixels)} px of {len(found)} colours outside the class list, such as "
            f"{tuple(found[counts.argmax()].tolist())}; expected {known}"
        )


def index_by_stem(
    folder: Path, ending: str = "", suffixes: Iterable[str] = LABEL_SUFFIXES
) -> dict[str, Path]:
    """Find the files `<key><ending><suffix>` under a folder, including sub-folders and symlinks.

    Hidden files and folders are skipped.

    Returns:
        The files by key, which is the path relative to the folder; sorted, so that the order is
        the same on every machine.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: two files share a key, such as `a.jpg` and `a.png`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such directory; {DATADIR_HINT}")
    found: dict[str, Path] = {}
    for path in sorted(files_below(folder)):
        stem = path.stem
        if path.suffix.lower() not in suffixes or not stem.endswith(ending):
            continue
        key = path.with_name(stem.removesuffix(ending)).relative_to(folder).as_posix()
        key = unicodedata.normalize("NFC", key)  # macOS may store names decomposed (NFD)
        if key in found:
            raise ValueError(f"{path}: has the same stem as {found[key]}; remove one")
        found[key] = path
    return found


def pair(images: Mapping[str, Path], labels: Mapping[str, Path], folder: Path) -> Pairs:
    """Pair every image with the label of the same key; `folder` is that of the labels.

    Raises:
        FileNotFoundError: an image or a label has no partner.
    """
    for key, path in images.items():
        if key not in labels:
            raise FileNotFoundError(f"{path}: image without a label in {folder}")
    for key, path in labels.items():
        if key not in images:
            raise FileNotFoundError(f"{path}: label without an image")
    return [(path, labels[key]) for key, path in images.items()]


def name_images(paths: Sequence[Path]) -> list[str]:
    """Name files by stem, or all by path below their common folder if two stems are equal."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    shared = os.path.commonpath([path.parent for path in paths])
    return [path.with_suffix("").relative_to(shared).as_posix() for path in paths]


def parse_classes(text: str) -> tuple[str, ...]:
    """Read class names from `soil,crop,weed`, or from a text file with one name per line.

    Raises:
        FileNotFoundError: the text looks like a path and no such file exists.
        ValueError: fewer than two names, an empty name, or a duplicate.
    """
    path = Path(text)
    if "," in text:
        names = [name.strip() for name in text.split(",")]
    elif path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"--classes: {path} is not a text file") from error
        names = [line.strip() for line in lines if line.strip()]
    elif path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"--classes: no such file: {path}")
    else:
        names = [text.strip()]
    return check_classes(names)


def check_classes(names: Sequence[str], where: str = "--classes") -> tuple[str, ...]:
    """Check class names: none empty, unprintable or duplicate, and 2 to 254 of them.

    Args:
        names: the names, in the order of their ids.
        where: the flag or file that they come from, for the error message.
    """
    if "" in names:
        raise ValueError(f"{where}: an empty name in {','.join(names)!r}")
    if odd := [name for name in names if not name.isprintable()]:
        raise ValueError(f"{where}: {odd[0]!r} has characters that cannot be printed")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{where}: named twice: {', '.join(doubled)}")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(
            f"{where}: {len(names)} name(s); give 2 to {MAX_CLASSES}, as in soil,crop,weed, "
            "or a file with one name per line"
        )
    return tuple(names)


def _size(tensor: Tensor) -> str:
    height, width = tensor.shape[-2:]
    return f"{width} x {height}"
