"""ACDC: street scenes in fog, night, rain and snow, with the classes of Cityscapes."""

from datasets.base import Pairs, index_by_stem, pair
from datasets.cityscapes import TrainIdDataset

CONDITIONS = ("fog", "night", "rain", "snow")


class ACDC(TrainIdDataset):
    """Sakaridis et al., ACDC: The Adverse Conditions Dataset with Correspondences, ICCV 2021.

    The labels of its test split are not published.
    """

    name = "ACDC"
    splits = ("train", "val")
    label_prefix = "_gt"

    def list_pairs(self) -> Pairs:
        """Pair `rgb_anon/<condition>/<split>` with `gt/<condition>/<split>`, by condition."""
        pairs = []
        for condition in CONDITIONS:
            folder = self.root / "gt" / condition / self.split
            images = index_by_stem(self.root / "rgb_anon" / condition / self.split, "_rgb_anon")
            pairs += pair(images, self.index_labels(folder), folder)
        return pairs

    def condition(self, index: int) -> str:
        """Name the condition: fog, night, rain or snow."""
        return self.pairs[index][0].relative_to(self.root / "rgb_anon").parts[0]
