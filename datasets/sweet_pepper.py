"""Sweet pepper plants in a greenhouse, in VOC layout."""

from collections.abc import Sequence

from datasets.base import check_classes
from datasets.palettes import make_palette
from datasets.voc import VocLayout

NUM_CLASSES = 8


class SweetPepper(VocLayout):
    """Eight classes; available on request from its authors, who have not published the names."""

    name = "SweetPepper"
    classes: tuple[str, ...] = ()
    palette = make_palette(NUM_CLASSES)

    def set_classes(self, classes: Sequence[str]) -> None:
        """Set the eight names."""
        self.classes = check_classes(tuple(classes))
        if len(self.classes) != NUM_CLASSES:
            raise ValueError(
                f"--classes: SweetPepper has {NUM_CLASSES} classes, {len(self.classes)} are named"
            )

    def check_split(self) -> None:
        """Raise if the class names are missing: nothing can be read without them."""
        if not self.classes:
            raise ValueError(
                f"SweetPepper: its class names are not published; name its {NUM_CLASSES} classes, "
                "in the order of their ids, with --classes (names or a file)"
            )
        super().check_split()
