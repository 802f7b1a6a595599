"""Pictures of label maps, by hand."""

import numpy as np

from eval.reporting.pictures import (
    add_legend,
    colorize,
    inset_legend,
    legend_entries,
    overlay,
    spread,
)

PALETTE = ((0, 0, 0), (0, 255, 0), (128, 128, 128))


def test_void_never_has_the_colour_of_a_class():
    colours = colorize(np.array([[0, 1, 2, 255]], np.uint8), PALETTE)[0]
    assert [tuple(colour) for colour in colours[:3].tolist()] == list(PALETTE)
    assert tuple(colours[3].tolist()) not in PALETTE
    assert legend_entries("abc", PALETTE)[-1] == ("not labelled", tuple(colours[3].tolist()))


def test_an_overlay_keeps_the_photograph_under_soil_and_void():
    image = np.full((9, 12, 3), 200, np.uint8)
    label = np.zeros((9, 12), np.uint8)
    label[:, 6:], label[:2] = 1, 255
    drawn = overlay(image, label, PALETTE, opacity=0.25)
    assert (drawn[:, :6] == 200).all() and (drawn[:2] == 200).all()
    assert (drawn[4:, 8:] == (150, 214, 150)).all()  # 3/4 of 200, and 1/4 of the colour
    assert (drawn[4:, 6] == (0, 255, 0)).all()  # the outline


def test_a_legend_below_shows_every_colour():
    entries = legend_entries([f"class {index}" for index in range(3)], PALETTE)
    row = np.full((50, 150, 3), 255, np.uint8)
    drawn = add_legend(row, entries)
    assert (drawn[:50] == row).all() and drawn.shape[1] == 150
    below = {tuple(colour) for colour in drawn[50:].reshape(-1, 3).tolist()}
    assert {colour for _, colour in entries} <= below


def test_a_legend_inside_keeps_the_size_and_needs_room():
    image = np.full((240, 320, 3), 77, np.uint8)
    drawn = inset_legend(image, [("weed", (255, 0, 0))])
    assert drawn.shape == image.shape and (drawn[:40, :60] == (255, 0, 0)).all(2).any()
    assert (drawn[120:] == 77).all() and (drawn[:, 160:] == 77).all()
    small = image[:40, :60]
    assert inset_legend(small, [("weed", (255, 0, 0))]) is small


def test_many_names_are_listed_in_columns():
    image = np.full((360, 480, 3), 77, np.uint8)
    names = [f"class {index}" for index in range(19)]
    drawn = inset_legend(image, [(name, (7 * i, 0, 255)) for i, name in enumerate(names)])
    found = {tuple(colour) for colour in drawn[:180, :240].reshape(-1, 3).tolist()}
    assert {(7 * i, 0, 255) for i in range(19)} <= found
    assert (drawn[180:] == 77).all() and (drawn[:, 240:] == 77).all()


def test_images_are_spread_over_a_split():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(2, 4) == [0, 1]
