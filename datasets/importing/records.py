"""What every format is read into: samples with regions or a mask, and their classes' names."""

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
        mask: draws the object instead: maps the image's (height, width) to bool (H, W).
        order: regions of higher order are painted later, over others.

    Raises:
        ValueError: a corner is not finite.
    """

    name: str
    rings: tuple[np.ndarray, ...] = ()
    mask: Callable[[tuple[int, int]], np.ndarray] | None = None
    order: float = 0.0

    def __post_init__(self) -> None:
        # pycocotools ends the process on such numbers.
        if not all(np.isfinite(ring).all() for ring in self.rings):
            raise ValueError("a corner that is not a finite number")


@dataclass(frozen=True)
class Sample:
    """An image and what is labelled in it.

    Attributes:
        image: the file.
        label: the file that holds the label: for errors, and the mask itself in mask formats.
        split: train, val or test, where the source deals its images.
        regions: what to paint, in formats of polygons.
        size: (height, width) in px that the source states.
    """

    image: Path
    label: Path
    split: str | None = None
    regions: tuple[Region, ...] | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Source:
    """A data set as a labelling tool wrote it.

    Attributes:
        samples: in a fixed order.
        names: the classes, in the source's order.
        values: what the ids of masks mean; None where masks hold colours, or in polygon formats.
        colours: what the colours of masks mean.
        left_out: how many objects of a kind without an area there are, such as points.
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
    """What the flags say about the source, before it is read."""

    path: Path
    images: Path | None = None
    masks: Path | None = None
    classes: str | None = None
    colours: Mapping[Colour, str] | None = None
