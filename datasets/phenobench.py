"""PhenoBench: sugar beets and weeds seen from the air, 1024 x 1024."""

from conventions.labels import VOID
from datasets.base import (
    IMAGE_SUFFIXES,
    PLANT_CLASSES,
    PLANT_PALETTE,
    Pairs,
    SegmentationDataset,
    index_by_stem,
    pair,
)


class PhenoBench(SegmentationDataset):
    """Weyler et al., PhenoBench, IEEE TPAMI 2024; the labels of its test split are not published.

    Plants cut off by the image border, ids 3 and 4, count as crop and weed, as in its benchmark.
    """

    name = "PhenoBench"
    classes = PLANT_CLASSES
    palette = PLANT_PALETTE
    splits = ("train", "val")
    label_ids = {0: 0, 1: 1, 2: 2, 3: 1, 4: 2, VOID: VOID}

    def list_pairs(self) -> Pairs:
        """Pair `<split>/images/*.png` with `<split>/semantics/*.png`."""
        folder = self.root / self.split / "semantics"
        images = index_by_stem(self.root / self.split / "images", suffixes=IMAGE_SUFFIXES)
        return pair(images, index_by_stem(folder), folder)
