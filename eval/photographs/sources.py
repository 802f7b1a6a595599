"""Sources in `--input`: images and videos, given as files, folders and globs."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import NoReturn

# Silence FFmpeg before OpenCV loads it: we report a damaged video ourselves, in one line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import torch
from torch import Tensor

from command_line.notes import note
from datasets.files import files_below
from datasets.reading import READABLE_SUFFIXES, UNREAD_SUFFIXES, read_image
from eval.photographs.prediction_files import TABLE

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
# Containers only estimate their length; if fewer frames than this share exist, the end is missing.
WHOLE_VIDEO = 0.9


@dataclass(frozen=True)
class Source:
    """A file to segment, and the name of its results: its path within the input, without suffix."""

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether the file is a video, by its suffix."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_sources(inputs: Sequence[str], output: Path) -> list[Source]:
    """List the files in `--input`, sorted, without duplicates.

    Folders are searched recursively, except for hidden ones, `output`, and those with results of
    an earlier run, which globs leave out too. Results are named by the path below the common folder
    of all inputs, which for a single folder is the folder itself. The suffix is part of the name
    for files that differ in the suffix only, and for a video beside a folder of its name.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: nothing to segment in an input, it is in `output`, or a file that it names is
            of a kind that is not read.
    """
    paths: dict[Path, None] = {}
    bases = []
    for text in inputs:
        base, found = _search(text, output.resolve(), READABLE_SUFFIXES + VIDEO_SUFFIXES)
        unread = any(path.suffix.lower() in UNREAD_SUFFIXES for path in found)
        if not found or unread:
            raise ValueError(_nothing_to_read(text, output))
        for path in (base, *found):
            if path.resolve().is_relative_to(output.resolve()):
                raise ValueError(
                    f"--input {text}: is in --output {output}; give results their own folder"
                )
        bases.append(_absolute(base))
        paths |= dict.fromkeys(map(_absolute, found))
    shared = Path(os.path.commonpath(bases))
    return _name({path: path.relative_to(shared) for path in sorted(paths)})


def _name(paths: Mapping[Path, Path]) -> list[Source]:
    """Name the results of files by their paths below a common folder, all different."""
    folders = {parent.as_posix().casefold() for path in paths.values() for parent in path.parents}
    sources = [Source(path, below.with_suffix("").as_posix()) for path, below in paths.items()]
    while True:
        counts = Counter(source.name.casefold() for source in sources)
        named = [
            Source(source.path, paths[source.path].as_posix())
            # The frames of a video are written to a folder of its name.
            if counts[source.name.casefold()] > 1
            or (source.is_video and source.name.casefold() in folders)
            else source
            for source in sources
        ]
        if named == sources:
            return sources
        sources = named  # `photo.jpg` of photo.jpg may be the name of photo.jpg.png


def _nothing_to_read(text: str, output: Path) -> str:
    """Say why an input has nothing to segment, and what to do."""
    unread = _search(text, output.resolve(), UNREAD_SUFFIXES)[1]
    if unread:
        return f"--input {text}: {_count_by_suffix(unread)}: convert to JPEG"
    known = " ".join(READABLE_SUFFIXES + VIDEO_SUFFIXES)
    return f"--input {text}: no image and no video there ({known})"


def _count_by_suffix(paths: Iterable[Path]) -> str:
    """Count files for a message: `1 .gif file, 3 .heic files`."""
    counts = Counter(path.suffix.lower() for path in paths)
    return ", ".join(
        f"{count} {suffix} {'file' if count == 1 else 'files'}"
        for suffix, count in sorted(counts.items())
    )


def report_unread(inputs: Sequence[str], output: Path, sources: Sequence[Source]) -> int:
    """Print how many photographs `find_sources` passed over, by suffix, and return their number.

    Those of which `sources` has a version of the same name, such as a JPEG beside a raw file, do
    not count.
    """
    known = {source.path.with_suffix("") for source in sources}
    found = (
        path for text in inputs for path in _search(text, output.resolve(), UNREAD_SUFFIXES)[1]
    )
    paths = {path for path in map(_absolute, found) if path.with_suffix("") not in known}
    if paths:
        print(f"left out: {_count_by_suffix(paths)}: convert to JPEG", file=sys.stderr)
    return len(paths)


def _search(text: str, output: Path, suffixes: tuple[str, ...]) -> tuple[Path, list[Path]]:
    """Return the base folder of an input, and the files with these suffixes in it.

    A file that the input names is returned whatever its suffix.
    """
    path = Path(text)
    if path.is_dir():
        files = files_below(
            path, lambda folder: folder.resolve() == output or _has_results(folder), _raise
        )
        return path, [file for file in files if file.suffix.lower() in suffixes]
    if path.exists():
        return path.parent, [path]
    if not has_magic(text):
        raise FileNotFoundError(f"--input {text}: no such file or folder")
    base = next(part for part in path.parents if not has_magic(str(part)))
    matches = (Path(match) for match in sorted(glob(text, recursive=True)))
    found = [file for file in matches if file.is_file() and file.suffix.lower() in suffixes]
    folders = {folder for file in found for folder in file.parents} - {base, *base.parents}
    skipped = {folder for folder in sorted(folders) if _has_results(folder)}
    return base, [file for file in found if skipped.isdisjoint(file.parents)]


def _has_results(folder: Path) -> bool:
    """Whether a folder has results of an earlier run, with a note."""
    if not ((folder / TABLE).is_file() and (folder / "labels").is_dir()):
        return False
    note(f"{folder}: left out, it has results of an earlier run")
    return True


def _raise(error: OSError) -> NoReturn:
    raise error


def _absolute(path: Path) -> Path:
    """Make a path absolute without resolving symlinks, whose names the user knows."""
    return Path(os.path.abspath(path))


def count_frames(sources: Iterable[Source], every: int) -> int:
    """Estimate the number of frames that `read_frames` yields."""
    total = 0
    for source in sources:
        frames = 1
        if source.is_video:
            video = cv2.VideoCapture(str(source.path))
            frames = -(-max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))) // every)
            video.release()
        total += frames
    return total


def read_frames(
    sources: Iterable[Source], every: int = 1
) -> Iterator[tuple[str, Tensor | ValueError | OSError]]:
    """Read the sources, one frame at a time.

    Args:
        sources: files to read.
        every: read every Nth frame of a video, starting with the first.

    Yields:
        The name of the results and the image, uint8 RGB (3, H, W), or the error if it is
        unreadable. A frame is named by its index in the video, from 0: `video/000012`.
    """
    for source in sources:
        try:
            if source.is_video:
                yield from _read_video(source, every)
            else:
                yield source.name, read_image(source.path)
        except (ValueError, OSError) as error:
            yield source.name, error


def _read_video(source: Source, every: int) -> Iterator[tuple[str, Tensor | ValueError]]:
    with open(source.path, "rb"):
        pass  # raises if it is missing, which OpenCV does not distinguish from damage
    video = cv2.VideoCapture(str(source.path))
    try:
        expected = video.get(cv2.CAP_PROP_FRAME_COUNT)
        index = 0
        while video.grab():  # decodes the frame; only `retrieve` converts colours
            if index % every == 0:
                yield f"{source.name}/{index:06d}", _decoded(video, f"{source.path}: frame {index}")
            index += 1
    finally:
        video.release()
    if index == 0:
        raise ValueError(f"{source.path}: not a readable video, damaged or of another kind")
    if index < WHOLE_VIDEO * expected:
        raise ValueError(f"{source.path}: ends after {index} of {expected:.0f} frames, damaged")


def _decoded(video: cv2.VideoCapture, called: str) -> Tensor | ValueError:
    """The grabbed frame, uint8 RGB (3, H, W), or an error: the frames after it may be readable."""
    found, frame = video.retrieve()
    if not found:
        return ValueError(f"{called}: cannot be decoded, damaged")
    return torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
