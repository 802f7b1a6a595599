"""The formats that can be imported, and their detection."""

from collections.abc import Callable
from dataclasses import dataclass

from datasets.importing import coco, cvat, label_studio, labelme, mask_folders, yolo
from datasets.importing.places import UNREAD_ADVICE, Export
from datasets.importing.records import Source
from datasets.reading import UNREAD_SUFFIXES


@dataclass(frozen=True)
class Format:
    """A format: its requirements in words, its detector, and its reader."""

    needs: str
    detect: Callable[[Export], bool]
    read: Callable[[Export], Source]


# In detection order: exports with annotation files contain plain images too.
FORMATS: dict[str, Format] = {
    "coco": Format("a .json with images, annotations, categories", coco.detect, coco.read),
    "cvat": Format("CVAT's annotations.xml", cvat.detect, cvat.read),
    "labelme": Format("a .json per image with shapes", labelme.detect, labelme.read),
    "label-studio": Format("Label Studio's .json of tasks", label_studio.detect, label_studio.read),
    "yolo": Format("a .txt of polygons per image and data.yaml", yolo.detect, yolo.read),
    "folders": Format(
        "images/ and masks/ (CVAT's mask export too), or train/ and trainannot/",
        mask_folders.detect_folders,
        mask_folders.read_folders,
    ),
    "pairs": Format("x.jpg and x_L.png", mask_folders.detect_pairs, mask_folders.read_pairs),
}


def recognise(export: Export) -> str:
    """Detect the format of an export.

    Raises:
        ValueError: no format fits; the message says what was found and what is needed.
    """
    for name, candidate in FORMATS.items():
        if candidate.detect(export):
            return name
    unread = [path for path in export.files if path.suffix.lower() in UNREAD_SUFFIXES]
    advice = f"{unread[0]}: {UNREAD_ADVICE}; " if unread else ""
    needs = "; ".join(f"{name}: {entry.needs}" for name, entry in FORMATS.items())
    raise ValueError(
        f"--input {export.request.path}: no known format; found {export.summary()}; "
        f"{advice}needed one of: {needs}; images that are elsewhere: --images DIR"
    )
