"""Common representation of all formats: samples with regions or a mask, and class names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datasets.reading import Colour


@dataclass(frozen=True)
class Region:
    """The pixels of one object: the union of polygons, or a mask.

    Attributes:
        name: the class, as the source spells it.
        rings: polygons, float (N, 2) each, x and y in px from the image's top left corner.
        mask: alternative to `rings`: maps the image's (height, width) to bool (H, W).
        order: regions of higher order are painted later, over others.

    Raises:
        ValueError: a corner is not finite.
    """

    name: str
    rings: tuple[np.ndarray, ...] = ()
    mask: Callable[[tuple[int, int]], np.ndarray] | None = None
    order: float = 0.0

    def __post_init__(self) -> None:
        # pycocotools crashes the process on such numbers.
        if not all(np.isfinite(ring).all() for ring in self.rings):
            raise ValueError("a corner that is not a finite number")


@dataclass(frozen=True)
class Sample:
    """An image and its labels.

    Attributes:
        image: the image file.
        label: the file with the label: in mask formats the mask, otherwise for error messages.
        split: train, val or test, if the source has splits.
        regions: regions to paint; None in mask formats.
        size: (height, width) in px as stated in the source.
    """

    image: Path
    label: Path
    split: str | None = None
    regions: tuple[Region, ...] | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Source:
    """A data set as written by a labelling tool.

    Attributes:
        samples: in a fixed order.
        names: the classes, in the source's order.
        values: class names by mask value; None for masks of colours and for polygon formats.
        colours: class names by mask colour; None otherwise.
        left_out: counts of skipped items by kind, such as objects without an area.
    """

    samples: Sequence[Sample]
    names: tuple[str, ...]
    values: Mapping[int, str] | None = None
    colours: Mapping[Colour, str] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_masks(self) -> bool:
        return self.values is not None or self.colours is not None


@dataclass(frozen=True)
class Request:
    """Flags that describe the source, before it is read."""

    path: Path
    images: Path | None = None
    masks: Path | None = None
    classes: str | None = None
    colours: Mapping[Colour, str] | None = None
