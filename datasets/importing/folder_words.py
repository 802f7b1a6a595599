"""What the names of folders say: images, masks, and splits."""

import re
from pathlib import PurePosixPath

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip
_SPLIT = "|".join(sorted(SPLITS, key=len, reverse=True))
_IMAGE_WORDS = (
    "images?|imgs?|jpegimages|rgb|photos?|pictures|leftimg8bit|inputs?|frames?|data|"
    r"(?:\d+_)?stillsraw(?:_full)?"  # CamVid as it is published
)
_MASK_WORDS = (
    "masks?|labels?|annot|annots|annotations?|anns?|gt|gtfine|groundtruth|ground_truth|targets?|"
    "segmentations?|segmentationclass|segmentationclasspng|semantics?|labelids|labeled|seg|"
    "labeledapproved(?:_full)?"
)
PART = re.compile(
    rf"^(?P<split>{_SPLIT})?[-_ ]?(?:(?P<image>{_IMAGE_WORDS})|(?P<mask>{_MASK_WORDS}))?"
    rf"[-_ ]?(?P<last>{_SPLIT})?$",
    re.IGNORECASE,
)


def says_role(folder: str) -> bool:
    """Whether a folder's name only means that it contains images, masks or a split."""
    return PART.match(folder) is not None


def split_of(path: PurePosixPath) -> str | None:
    """Find train, val or test among the words of a path, folders first."""
    for part in path.parts:
        stem = part.rsplit(".", 1)[0] if part == path.name else part
        for word in re.split(r"[^a-z]+", stem.casefold()):
            if word in SPLITS:
                return SPLITS[word]
    return None
