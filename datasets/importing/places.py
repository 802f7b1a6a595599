"""The export folder of a labelling tool: its files, and looking up images named in them."""

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.files import files_below, same_name
from datasets.importing.folder_words import SPLITS, says_role, split_of
from datasets.importing.records import Request
from datasets.reading import READABLE_SUFFIXES, UNREAD_SUFFIXES
from datasets.voc import listed_names

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
UNREAD_ADVICE = (
    "images of this kind are not read; convert photographs to .jpg or .png, masks to .png"
)
_ABSOLUTE = re.compile(r"^(?:[A-Za-z]:)?/|^[a-z0-9]+://")


class Export:
    """An input folder, or a single annotation file to read in it.

    Raises:
        FileNotFoundError: the file or folder does not exist.
        ValueError: it is an archive.
    """

    def __init__(self, request: Request) -> None:
        path = request.path
        if path.suffix.lower() in ARCHIVES and path.is_file():
            raise ValueError(f"--input {path}: is an archive; unpack it and name the folder")
        for flag, folder in (("--images", request.images), ("--masks", request.masks)):
            if folder is not None and not folder.is_dir():
                raise FileNotFoundError(f"{flag} {folder}: no such directory")
        if not path.exists():
            raise FileNotFoundError(f"--input {path}: no such file or directory")
        self.request = request
        self.root = path if path.is_dir() else path.parent
        self.file = None if path.is_dir() else path
        self._parsed: dict[Path, Any] = {}

    @cached_property
    def files(self) -> list[Path]:
        """All files below the folder, in a fixed order; hidden ones are skipped."""
        return sorted(files_below(self.root))

    @cached_property
    def images(self) -> list[Path]:
        """Images below the folder, and below `--images`."""
        found = {os.path.abspath(path): path for path in self.files if is_image(path)}
        if self.request.images is not None:  # may be the same files, by a different path
            below = sorted(files_below(self.request.images))
            found |= {os.path.abspath(path): path for path in below if is_image(path)}
        return list(found.values())

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """The images by normalised file name, without folders."""
        found: dict[str, list[Path]] = {}
        for path in self.images:
            found.setdefault(same_name(path.name), []).append(path)
        return found

    @cached_property
    def listed(self) -> dict[str, str]:
        """Splits by name without suffix, from lists such as `ImageSets/Segmentation/train.txt`.

        Raises:
            ValueError: a name is in the lists of two splits.
        """
        lists = [
            path
            for path in self.annotations(".txt")
            if path.parent.parent.name == "ImageSets" and path.stem.casefold() in SPLITS
        ]
        # PASCAL VOC splits its images for detection, in ImageSets/Main, in another way.
        lists = [path for path in lists if path.parent.name == "Segmentation"] or lists
        found: dict[str, str] = {}
        for path in lists:
            split = SPLITS[path.stem.casefold()]
            for line in listed_names(path, READABLE_SUFFIXES):
                name = same_name(line.replace("\\", "/").removeprefix("./"))
                if found.setdefault(name, split) != split:
                    raise ValueError(f"{path}: {name} is listed in {found[name]} too; remove one")
        return found

    def listed_split(self, path: Path) -> str | None:
        """The split whose list names an image or mask, by its path or the end of it; or None."""
        if not self.listed:
            return None
        *folders, name = (same_name(part) for part in self.relative(path).with_suffix("").parts)
        for start in range(len(folders) + 1):
            if split := self.listed.get("/".join([*folders[start:], name])):
                return split
        # A list may also name folders above the one that was passed.
        end = "/".join(["", *(each for each in folders if not says_role(each)), name])
        above = {split for listed, split in self.listed.items() if listed.endswith(end)}
        return above.pop() if len(above) == 1 else None

    def annotations(self, *suffixes: str) -> list[Path]:
        """Annotation files with these suffixes: the one named by the user, or all in the folder."""
        candidates = self.files if self.file is None else [self.file]
        return [path for path in candidates if path.suffix.lower() in suffixes]

    def json(self, path: Path) -> Any:
        """Parse a JSON file, cached: both detecting a format and reading it need the content.

        Raises:
            ValueError: it is not JSON, or not text.
        """
        if path not in self._parsed:
            try:
                content = json.loads(path.read_text(encoding="utf-8-sig"))
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ValueError(f"{path}: not a whole JSON file; export it again") from error
            if isinstance(content, dict):
                content.pop("imageData", None)  # labelme's copy of the image: megabytes per file
            self._parsed[path] = content
        return self._parsed[path]

    def xml(self, path: Path) -> ElementTree.Element:
        """Parse an XML file, cached.

        Raises:
            ValueError: it is not XML.
        """
        if path not in self._parsed:
            try:
                self._parsed[path] = ElementTree.parse(path).getroot()
            except ElementTree.ParseError as error:
                raise ValueError(f"{path}: not a whole XML file; export it again") from error
        return self._parsed[path]

    def relative(self, path: Path) -> PurePosixPath:
        """The path relative to `--images` or the input folder."""
        for root in filter(None, (self.request.images, self.root)):
            if path.is_relative_to(root):
                return PurePosixPath(path.relative_to(root).as_posix())
        return PurePosixPath(path.name)

    def find_image(self, name: str, annotation: Path) -> Path:
        """Find the image that an annotation file names.

        Raises:
            ValueError: the name points outside the folder, or matches several images.
            FileNotFoundError: the image does not exist.
        """
        name = name.replace("\\", "/")
        base = name.rpartition("/")[2]
        roots = [path for path in (self.request.images, self.root) if path is not None]
        if _ABSOLUTE.match(name):  # a path on the machine on which it was labelled
            name = base
        elif ".." in PurePosixPath(name).parts and not self._within(annotation, name, roots):
            if self.request.images is None and not (annotation.parent / base).is_file():
                raise ValueError(
                    f"{annotation}: names {name!r}, outside of {self.root}; correct the name, or "
                    "give the images' folder with --images"
                )
            name = base
        for folder in (annotation.parent, *roots):
            place = (folder / name).resolve()
            if not any(place.is_relative_to(root.resolve()) for root in roots):
                continue
            if place.is_file() and place.suffix.lower() in UNREAD_SUFFIXES:
                raise ValueError(f"{place}: {UNREAD_ADVICE}")
            if is_image(place) and place.is_file():
                return self._below(folder / name)
        return self._choose(name, annotation)

    def _below(self, path: Path) -> Path:
        """The path without `..`, which would place outputs named after it outside the data set."""
        if ".." not in path.parts:
            return path
        place = path.resolve()
        roots = (path for path in (self.request.images, self.root) if path is not None)
        root = next(root for root in roots if place.is_relative_to(root.resolve()))
        return root / place.relative_to(root.resolve())

    def _within(self, annotation: Path, name: str, roots: list[Path]) -> bool:
        places = [(base / name).resolve() for base in (annotation.parent, *roots)]
        return any(place.is_relative_to(root.resolve()) for place in places for root in roots)

    def _choose(self, name: str, annotation: Path) -> Path:
        """Choose among the images with this file name, in any folder."""
        base = name.rpartition("/")[2]
        found = self.by_name.get(same_name(base), [])
        found = [path for path in found if self._may_be_in(path, name)]
        if len(found) > 1:
            wanted = same_name(name)
            found = [p for p in found if f"/{same_name(p.as_posix())}".endswith(f"/{wanted}")] or [
                p for p in found if split_of(self.relative(p)) == self.split_of(annotation)
            ]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{annotation}: {name!r} fits {found[0]} and {found[1]}; rename one")
        raise FileNotFoundError(
            f"{annotation}: image {name!r} is not in {self.root}{self._near(base)}; put it there, "
            "or name the images' folder with --images"
        )

    def _may_be_in(self, path: Path, name: str) -> bool:
        """Whether the folders of a name, if it has any, do not contradict those of a file.

        Cameras number their photographs anew each day: `day2/1.jpg` is not `images/day1/1.jpg`. It
        may be `images/1.jpg`, of which the folder is not known.
        """
        named, own = (
            [same_name(part) for part in each.parts[:-1] if not says_role(part)]
            for each in (PurePosixPath(name), self.relative(path))
        )
        shared = min(len(named), len(own))
        return named[len(named) - shared :] == own[len(own) - shared :]

    def split_of(self, annotation: Path) -> str | None:
        """The split named by an annotation file or its folders, or None."""
        return split_of(self.relative(annotation))

    def _near(self, name: str) -> str:
        stems = {PurePosixPath(key).stem: paths[0] for key, paths in self.by_name.items()}
        close = get_close_matches(PurePosixPath(same_name(name)).stem, stems, 1, cutoff=0.8)
        return f" (near: {self.relative(stems[close[0]])})" if close else ""

    def summary(self) -> str:
        """Summarise the folder: suffixes with their counts, and sub-folders."""
        kinds = Counter(path.suffix.lower() or "no suffix" for path in self.files)
        told = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common(5))
        folders = sorted({self.relative(path).parts[0] for path in self.files
                          if len(self.relative(path).parts) > 1})  # fmt: skip
        inside = f" in {', '.join(f'{name}/' for name in folders[:6])}" if folders else ""
        return (told or "no file") + inside


@contextmanager
def parsing(path: Path, tool: str) -> Iterator[None]:
    """Convert errors from malformed annotation files to a one-line ValueError.

    Args:
        path: the file; errors that already name it, and missing files, are passed on.
        tool: the tool that should have written it.

    Raises:
        ValueError: the block fails on a missing key, a wrong type or the like.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, ValueError) as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: not as {tool} writes it ({told}); export it again") from error


def is_image(path: Path) -> bool:
    """Return whether a file is an image, by its suffix."""
    return path.suffix.lower() in READABLE_SUFFIXES
