"""Metrics for farmers: weeds that a sprayer or hoe hits, and crops that it hurts.

The tool is modelled as in Darbyshire et al., "Towards practical object detection for weed spraying
in precision agriculture", Frontiers in Plant Science 2023: the image is divided into cells of the
tool's size, and a cell is treated if a weed was predicted in it; the treated share of the area is
also theirs. Counting weeds and crops per plant follows Ruigrok et al., "Application-specific
evaluation of a weed-detection algorithm for plant-specific spraying", Sensors 2020. Plants as
connected components of the label, and the shares `HIT` and `HURT`, are our choice.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from conventions.labels import VOID
from datasets.class_names import is_ground

HIT = 0.5  # least treated share of a weed that is hit
HURT = 0.1  # least treated share of a crop plant that is hurt


class PlantMetrics:
    """Counts weeds hit and crops hurt over a split.

    A plant is an 8-connected component of a class in the label. Plants of one class that touch
    count as one, and a plant that another one cuts in two counts as two.

    Args:
        classes: names, in the order of their ids; those containing "weed" are weeds, the others
            crops, except for ground (`datasets.class_names`).
        ignore_index: label value that counts neither as a plant nor as area.
        size: of the tool's cells, in px of the label; 1 treats only the predicted pixels.

    Raises:
        ValueError: no class is a weed, or none is a crop.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int = VOID, size: int = 1) -> None:
        plants = {
            index: "weed" in name.casefold()
            for index, name in enumerate(classes)
            if not is_ground(name)
        }
        if len(set(plants.values())) < 2:
            raise ValueError(
                "--plants: it takes a class with 'weed' in its name, and one of a crop; "
                f"the classes are {', '.join(classes)}"
            )
        self.is_weed = plants
        self.ignore_index = ignore_index
        self.size = size
        self.shares: dict[bool, list[float]] = {True: [], False: []}
        self.area = self.treated_area = 0

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count class maps (B, H, W) of the same size."""
        weeds = [index for index, is_weed in self.is_weed.items() if is_weed]
        for predicted, labelled in zip(prediction, label, strict=True):
            predicted, labelled = (maps.cpu().numpy() for maps in (predicted, labelled))
            treated = treated_cells(np.isin(predicted, weeds), self.size)
            known = labelled != self.ignore_index
            self.area += int(np.count_nonzero(known))
            self.treated_area += int(np.count_nonzero(treated & known))
            for index, is_weed in self.is_weed.items():
                self.shares[is_weed] += treated_shares(labelled == index, treated)

    def compute(self) -> dict[str, Any]:
        """Return numbers of plants, shares hit and hurt, and the treated share of labelled area.

        `weeds_hit` and `crops_hurt` are None if there is no such plant.
        """
        weeds, crops = (np.array(self.shares[is_weed]) for is_weed in (True, False))
        return {
            "size": self.size,
            "weeds": len(weeds),
            "weeds_hit": float((weeds >= HIT).mean()) if len(weeds) else None,
            "crops": len(crops),
            "crops_hurt": float((crops >= HURT).mean()) if len(crops) else None,
            "treated_area": self.treated_area / self.area if self.area else None,
        }


def treated_cells(weeds: np.ndarray, size: int) -> np.ndarray:
    """Return the pixels (H, W) bool of all cells of `size` px with a predicted weed pixel."""
    height, width = weeds.shape
    rows, columns = -(-height // size), -(-width // size)
    padded = np.pad(weeds, ((0, rows * size - height), (0, columns * size - width)))
    cells = padded.reshape(rows, size, columns, size).any(axis=(1, 3))
    return cells.repeat(size, axis=0).repeat(size, axis=1)[:height, :width]


def treated_shares(plants: np.ndarray, treated: np.ndarray) -> list[float]:
    """Return the treated share of each connected component of `plants` (H, W) bool."""
    count, components = cv2.connectedComponents(plants.astype(np.uint8), connectivity=8)
    pixels = np.bincount(components.ravel(), minlength=count)[1:]
    covered = np.bincount(components[treated], minlength=count)[1:]
    return (covered / pixels).tolist()


def describe_plants(plants: dict[str, Any]) -> list[str]:
    """Format the result of `PlantMetrics.compute`, in two lines."""
    hit, hurt, area = (
        "-" if plants[key] is None else f"{100 * plants[key]:.1f} %"
        for key in ("weeds_hit", "crops_hurt", "treated_area")
    )
    return [
        f"tool of {plants['size']} px: {hit} of {plants['weeds']} weeds hit, "
        f"{hurt} of {plants['crops']} crops hurt, {area} of the area treated",
        f"(hit: at least {100 * HIT:.0f} % of the plant is treated, hurt: {100 * HURT:.0f} %)",
    ]
