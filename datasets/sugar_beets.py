"""Sugar Beets 2016 (Bonn), in VOC layout."""

from datasets.base import PLANT_CLASSES, PLANT_PALETTE
from datasets.voc import VocLayout


class SugarBeets(VocLayout):
    """Chebrolu et al., Agricultural Robot Dataset for Plant Classification, Localization and
    Mapping on Sugar Beet Fields, IJRR 2017.

    `python datasets/prepare.py sugar-beets` converts the published folders to VOC layout.
    """

    name = "SugarBeets"
    classes = PLANT_CLASSES
    palette = PLANT_PALETTE

    def check_split(self) -> None:
        """Raise on the folders as published, which have to be converted first."""
        published = self.root.is_dir() and next(self.root.glob("**/iMapCleaned"), None)
        if published:
            raise FileNotFoundError(
                f"{self.root}: holds the data set as published ({published}); convert it to VOC "
                "layout with `python datasets/prepare.py sugar-beets`"
            )
        super().check_split()
