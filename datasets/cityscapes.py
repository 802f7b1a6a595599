"""Cityscapes: street scenes of 50 cities, 2048 x 1024, 19 classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from conventions.labels import VOID
from datasets.base import Pairs, SegmentationDataset, index_by_stem, pair

# The 19 evaluated classes, in the order of their trainIds: name, labelId, colour.
_CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
LABEL_ID_COUNT = 34  # 0 to 33, of which 19 are evaluated
TRAIN_TO_LABEL_ID = tuple(label_id for _, label_id, _ in _CLASSES)
LABEL_ID_TO_TRAIN = {i: VOID for i in range(LABEL_ID_COUNT)} | {
    label_id: train_id for train_id, label_id in enumerate(TRAIN_TO_LABEL_ID)
}
TRAIN_IDS, LABEL_IDS = "labelTrainIds", "labelIds"


class TrainIdDataset(SegmentationDataset):
    """The 19 classes, read from `*_labelTrainIds.png` or converted from `*_labelIds.png`."""

    classes = tuple(name for name, _, _ in _CLASSES)
    palette = tuple(colour for _, _, colour in _CLASSES)
    void_output = True  # 20 outputs, void the last

    def ids_of(self, path: Path) -> Mapping[int, int]:
        """Map labelIds to trainIds; trainIds stay as they are."""
        return LABEL_ID_TO_TRAIN if path.stem.endswith(LABEL_IDS) else super().ids_of(path)

    def hint(self, path: Path, values: Sequence[int]) -> str:
        """Return advice; recognises trainIds in a file named labelIds, and vice versa."""
        if path.stem.endswith(LABEL_IDS):
            if set(values) == {VOID}:
                return "255 is no labelId: these look like trainIds, name them *_labelTrainIds.png"
            return f"labelIds are 0 to {LABEL_ID_COUNT - 1}"
        if max(values) < LABEL_ID_COUNT:
            return "trainIds are 0 to 18 or 255: these look like labelIds, name them *_labelIds.png"
        return "trainIds are 0 to 18 or 255"

    def index_labels(self, folder: Path) -> dict[str, Path]:
        """Find the label of each key under `folder`; trainIds take precedence."""
        prefix = self.label_prefix
        labels = index_by_stem(folder, f"{prefix}_{LABEL_IDS}")
        return labels | index_by_stem(folder, f"{prefix}_{TRAIN_IDS}")

    label_prefix: str


class Cityscapes(TrainIdDataset):
    """Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.

    The published test labels are all void; the benchmark server scores test predictions.
    """

    name = "Cityscapes"
    splits = ("train", "val", "test")
    label_prefix = "_gtFine"

    def list_pairs(self) -> Pairs:
        """Pair `leftImg8bit/<split>/<city>` with `gtFine/<split>/<city>`."""
        folder = self.root / "gtFine" / self.split
        images = index_by_stem(self.root / "leftImg8bit" / self.split, "_leftImg8bit")
        return pair(images, self.index_labels(folder), folder)
