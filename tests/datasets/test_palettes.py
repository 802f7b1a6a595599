"""Colours of classes: distinct from each other, from void and from the page."""

import cv2
import numpy as np
import pytest

from datasets import DATASETS
from datasets.palettes import (
    RESERVED_COLOURS,
    class_palette,
    colour_distances,
    make_palette,
    recolour,
    void_colour,
)


def test_palette_is_that_of_voc():
    assert make_palette(4) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert make_palette(21)[20] == (0, 64, 128)
    assert len(set(make_palette(256))) == 256


@pytest.mark.parametrize(("count", "least"), [(3, 40), (11, 26), (19, 26), (40, 15)])
def test_own_classes_can_be_told_apart(count, least):
    palette = class_palette([f"class {index}" for index in range(count)])
    colours = np.array([*palette, *RESERVED_COLOURS])
    distances = colour_distances(colours, colours) + 999 * np.eye(len(colours))
    assert distances.min() >= least


@pytest.mark.parametrize("count", [11, 19, 40])
def test_no_own_class_is_dark(count):
    palette = np.array([class_palette([f"class {index}" for index in range(count)])], np.uint8)
    lightness = cv2.cvtColor(palette, cv2.COLOR_RGB2LAB)[..., 0] / 2.55
    assert lightness.min() >= 30


def test_as_many_colours_as_a_label_map_holds():
    palette = class_palette([f"class {index}" for index in range(255)])
    assert len(set(palette)) == 255 and void_colour(palette) not in palette


def test_plants_keep_their_colours_beside_other_classes():
    palette = class_palette(["background", "soil", "crop", "stone", "weed"])
    assert [palette[index] for index in (0, 2, 4)] == [(0, 0, 0), (0, 255, 0), (255, 0, 0)]
    assert len(set(palette)) == 5


@pytest.mark.parametrize("name", [name for name in DATASETS if hasattr(DATASETS[name], "palette")])
def test_void_has_the_colour_of_no_class(name):
    palette = DATASETS[name].palette
    assert colour_distances(np.array([void_colour(palette)]), np.array(palette)).min() >= 20


def test_distance_of_black_and_white_is_that_of_lightness():
    assert colour_distances(np.zeros((1, 3)), np.full((1, 3), 255))[0, 0] == pytest.approx(100)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["tree=1,2,3"], "unknown class; known: crop, weed"),
        (["crop=1,2"], "red,green,blue"),
        (["crop=1,2,x"], "red,green,blue"),
        (["crop=1,2,256"], "0 to 255"),
        (["crop=1,2,3", "Crop=3,2,1"], "twice"),
        (["crop=255,0,0"], "another class"),
    ],
)
def test_colours_that_do_not_fit_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        recolour(("crop", "weed"), ((0, 255, 0), (255, 0, 0)), texts)


def test_two_classes_may_swap_colours():
    palette = ((0, 255, 0), (255, 0, 0))
    assert recolour(("crop", "weed"), palette, ["weed=0,255,0", "crop=255,0,0"]) == palette[::-1]
