"""Label Studio: the JSON export, with polygons, rectangles, ellipses and brush strokes."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from datasets.importing.places import Export, parsing
from datasets.importing.raster import ellipse, rectangle, ring, turn
from datasets.importing.records import Region, Sample, Source

# Label Studio prepends this to the names of uploaded files.
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
WITHOUT_AREA = ("keypointlabels", "vectorlabels")
LABELS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels")
LARGEST = 1 << 30  # maximum number of values in a brush mask


def detect(export: Export) -> bool:
    """Look for a JSON list of tasks."""
    return bool(_files(export))


def read(export: Export) -> Source:
    """Read each task's last annotation that was not cancelled; tasks without one are skipped.

    Raises:
        ValueError: a result is not as Label Studio writes it.
        FileNotFoundError: an image is missing.
    """
    samples: list[Sample] = []
    names: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    for path in _files(export):
        with parsing(path, "Label Studio"):
            for task in export.json(path):
                done = [a for a in task["annotations"] if not a.get("was_cancelled")]
                if not done:
                    left_out["tasks without an annotation"] += 1
                    continue
                where = f"{path}: task {task.get('id')}"
                results = done[-1].get("result") or []
                regions = tuple(_regions(results, where, left_out))
                names |= dict.fromkeys(region.name for region in regions)
                image = _image(export, path, task, where)
                split = export.split_of(path)
                samples.append(Sample(image, path, split, regions, _size(results)))
    return Source(samples, tuple(names), left_out=left_out)


def _files(export: Export) -> list[Path]:
    return [path for path in export.annotations(".json") if _is_tasks(export.json(path))]


def _is_tasks(content: object) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(
            isinstance(task, dict)
            and isinstance(task.get("data"), dict)
            and isinstance(task.get("annotations"), list)
            for task in content
        )
    )


def _image(export: Export, path: Path, task: dict, where: str) -> Path:
    """Find a task's image by name, with or without the prefix added on upload."""
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    if not texts:
        raise ValueError(f"{where} names no image in its data")
    address = urlsplit(str(task["data"].get("image", texts[0])))
    local = re.search(r"(?:^|&)d=([^&]*)", address.query)  # /data/local-files/?d=PATH
    name = unquote(local[1] if local else address.path).rpartition("/")[2]
    plain = UPLOAD_PREFIX.sub("", name)
    try:
        return export.find_image(name, path)
    except FileNotFoundError:
        if plain == name:
            raise
    return export.find_image(plain, path)


def _size(results: list[dict]) -> tuple[int, int] | None:
    for result in results:
        if "original_height" in result:
            return result["original_height"], result["original_width"]
    return None


def _regions(results: list[dict], where: str, left_out: Counter) -> Iterator[Region]:
    for result in results:
        kind, value = result.get("type"), result.get("value") or {}
        if kind not in LABELS:
            if kind in WITHOUT_AREA:
                left_out[f"results of type {kind}"] += 1
            continue
        if not value.get(kind):
            raise ValueError(f"{where}: a region of type {kind} has no label; give it one")
        if result.get("image_rotation"):
            raise ValueError(f"{where}: was labelled on a rotated image; rotate the file instead")
        name, size = str(value[kind][0]).strip(), _size([result])
        if kind == "brushlabels":
            yield Region(name, mask=partial(_brush, tuple(value.get("rle") or ()), where))
            continue
        if size is None:
            raise ValueError(f"{where}: a region without original_width and original_height")
        yield Region(name, (_ring(kind, value, size, where),))


def _ring(kind: str, value: dict, size: tuple[int, int], where: str) -> np.ndarray:
    """Convert a shape, in percent of the image's sides, to corners (N, 2) in px."""
    scale = np.array((size[1], size[0]), np.float64) / 100
    if kind == "polygonlabels":
        return ring(value.get("points"), where) * scale
    try:
        x, y, angle = float(value["x"]), float(value["y"]), float(value.get("rotation") or 0)
        if kind == "rectanglelabels":
            corners = rectangle(x, y, x + float(value["width"]), y + float(value["height"]))
        else:
            corners = ellipse(x, y, float(value["radiusX"]), float(value["radiusY"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: a region of type {kind} lacks its place or size") from error
    return turn(corners * scale, angle, (x * scale[0], y * scale[1]))


def _brush(data: tuple[int, ...], where: str, size: tuple[int, int]) -> np.ndarray:
    values = decode_brush(data, where)
    if len(values) != size[0] * size[1] * 4:
        raise ValueError(
            f"{where}: its brush mask has {len(values) // 4} px, its image {size[1]} x {size[0]}; "
            "was the image replaced after labelling?"
        )
    return values.reshape(*size, 4)[..., 3] > 0


def decode_brush(data: tuple[int, ...], where: str) -> np.ndarray:
    """Decode Label Studio's RLE, the bit stream of thi.ng/rle-pack, to uint8 (N,): RGBA values.

    The header has 32 bits for N, 5 bits for the word size - 1, and 4 bits each for four bit widths
    - 1 of run lengths. Runs follow: a bit that is set if a single word is repeated, 2 bits that
    select one of the four widths, the run length - 1, and the word or words.

    Raises:
        ValueError: the stream is truncated, or not a list of bytes.
    """
    try:
        bits = np.unpackbits(np.array(data, np.uint8))
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: its brush mask is not a list of bytes") from error
    text, position = bits.tobytes().translate(bytes((48, 49)) + bytes(range(2, 256))).decode(), 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(text[position - count : position], 2)

    try:
        count, word = read(32), read(5) + 1
        lengths = [read(4) + 1 for _ in range(4)]
        if count > LARGEST or word > 8:
            raise ValueError
        values, done = np.zeros(count, np.uint8), 0
        while done < count:
            repeated = read(1)
            run = min(read(lengths[read(2)]) + 1, count - done)
            if position + (1 if repeated else run) * word > len(text):
                raise ValueError
            if repeated:
                values[done : done + run] = read(word)
            else:
                values[done : done + run] = [read(word) for _ in range(run)]
            done += run
    except ValueError:
        raise ValueError(f"{where}: its brush mask ends early; export it again") from None
    return values
