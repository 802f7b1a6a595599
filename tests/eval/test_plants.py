"""Weeds hit and crops hurt, counted by hand."""

import numpy as np
import pytest
import torch

from eval.plants import PlantMetrics, treated_cells, treated_shares

CLASSES = ("soil", "crop", "weed")


def maps(*rows):
    return torch.tensor([[list(map(int, row)) for row in rows]], dtype=torch.uint8)


#        a crop and two weeds, of 4, 2 and 2 pixels; 9 is void
LABEL = maps("110020", "110020", "000000", "022000")
LABEL[0, 2, 5] = 255


def count(prediction, size):
    metrics = PlantMetrics(CLASSES, size=size)
    metrics.update(prediction, LABEL)
    return metrics.compute()


def test_the_predicted_pixels_alone():
    # half of the first weed is hit, nothing of the second; one of four pixels of the crop
    prediction = maps("120020", "110000", "000000", "000000")
    assert count(prediction, 1) == {
        "size": 1, "weeds": 2, "weeds_hit": 0.5, "crops": 1, "crops_hurt": 1.0,
        "treated_area": 2 / 23,
    }  # fmt: skip


def test_a_larger_tool_treats_whole_cells():
    prediction = maps("000020", "000000", "000000", "020000")
    found = count(prediction, 2)  # cells (0, 2), with the first weed, and (1, 0)
    # the second weed has one of its two pixels in the treated cell: half of it
    assert found["weeds_hit"] == 1.0 and found["crops_hurt"] == 0.0
    assert found["treated_area"] == 8 / 23
    assert count(prediction, 4) == {  # cells of 4 px, the right one cut by the border
        "size": 4, "weeds": 2, "weeds_hit": 1.0, "crops": 1, "crops_hurt": 1.0, "treated_area": 1.0,
    }  # fmt: skip


def test_a_tenth_of_a_crop_is_hurt_and_less_is_not():
    label = torch.ones(1, 1, 20, dtype=torch.uint8)
    for hit, hurt in ((1, 0.0), (2, 1.0)):
        prediction = label.clone()
        prediction[0, 0, :hit] = 2
        metrics = PlantMetrics(CLASSES)
        metrics.update(prediction, label)
        assert metrics.compute()["crops_hurt"] == hurt
        assert metrics.compute()["weeds_hit"] is None


def test_images_add_up():
    metrics = PlantMetrics(CLASSES)
    for prediction in (LABEL, torch.zeros_like(LABEL)):
        metrics.update(prediction, LABEL)
    found = metrics.compute()
    assert (found["weeds"], found["weeds_hit"], found["crops"]) == (4, 0.5, 2)


def test_diagonal_neighbours_are_one_plant():
    plants = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
    treated = np.zeros_like(plants)
    treated[0, 0] = True
    assert treated_shares(plants, treated) == [0.5, 0.0]


def test_cells_at_the_border_are_cut():
    weeds = np.zeros((3, 5), bool)
    weeds[2, 4] = True
    assert np.argwhere(treated_cells(weeds, 2)).tolist() == [[2, 4]]
    weeds[0, 1] = True
    assert treated_cells(weeds, 2).sum() == 5


def test_classes_are_told_by_their_names():
    metrics = PlantMetrics(("Soil", "carrot", "grass weed", "Weeds", "stones", "plastic mulch"))
    assert metrics.is_weed == {1: False, 2: True, 3: True}
    for classes in (("soil", "plant"), ("background", "weed")):
        with pytest.raises(ValueError, match="--plants: it takes a class with 'weed'"):
            PlantMetrics(classes)
