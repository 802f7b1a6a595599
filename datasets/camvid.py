"""CamVid: street scenes from a car, in the 480 x 360 version with 11 classes."""

from conventions.labels import VOID
from datasets.base import IMAGE_SUFFIXES, Pairs, SegmentationDataset, index_by_stem, pair

_CLASSES = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)
UNNAMED = 11


class CamVid(SegmentationDataset):
    """Brostow, Fauqueur and Cipolla, Semantic Object Classes in Video, Pattern Recognition Letters
    2009, in the layout of the SegNet tutorial.
    """

    name = "CamVid"
    classes = tuple(name for name, _ in _CLASSES)
    palette = tuple(colour for _, colour in _CLASSES)
    splits = ("train", "val", "test")
    label_ids = {i: i for i in range(len(_CLASSES))} | {UNNAMED: VOID, VOID: VOID}

    def list_pairs(self) -> Pairs:
        """Pair `<split>/*.jpg` or `.png` with `<split>annot/*.png`."""
        folder = self.root / f"{self.split}annot"
        images = index_by_stem(self.root / self.split, suffixes=IMAGE_SUFFIXES)
        return pair(images, index_by_stem(folder), folder)
