import numpy as np
import pytest
import torch

from datasets.alignment import misplaced
from datasets.class_names import is_ground, plant_ids
from datasets.synthetic import draw_sample

SIZE = (160, 224)


@pytest.fixture(scope="module")
def fields():
    """Ten drawn fields: image (3, H, W) and label (H, W)."""
    drawn = (draw_sample(5, "train", index, SIZE) for index in range(10))
    return [(torch.from_numpy(i).permute(2, 0, 1), torch.from_numpy(label)) for i, label in drawn]


def test_sound_pairs_are_not_suspected(fields):
    assert [misplaced(image, label, [1, 2]) for image, label in fields] == [None] * 10


def test_real_photographs_are_not_suspected(cwfid_root):
    from datasets import build_dataset

    dataset = build_dataset("CWFID", cwfid_root, "train")
    pairs = [dataset.read(index) for index in range(0, 39, 8)]
    assert all(misplaced(image, label, [1, 2]) is None for image, label in pairs)
    turned = [misplaced(image, label.flip(0, 1), [1, 2]) for image, label in pairs]
    assert all("better turned by 180 degrees" in told for told in turned)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda label: label.flip(0, 1), "better turned by 180 degrees"),
        (lambda label: label.flip(1), "better mirrored left to right"),
        (lambda label: label.flip(0), "better mirrored top to bottom"),
        (lambda label: torch.roll(label, (20, -30), (0, 1)), "better shifted by"),
    ],
)
def test_a_label_in_another_place_is_told(fields, change, told):
    found = [misplaced(image, change(label), [1, 2]) or "" for image, label in fields]
    assert sum(told in reason for reason in found) >= 9


def test_the_way_back_is_told(fields):
    image, label = fields[0]
    told = misplaced(image, torch.roll(label, (20, -30), (0, 1)), [1, 2])
    right, down = (
        int(word) for word in told.replace("px", "").split() if word.lstrip("-").isdigit()
    )
    assert abs(right - 30) <= 3 and abs(down + 20) <= 3


def test_labels_of_other_images_are_told(fields):
    others = [*fields[1:], fields[0]]
    found = [
        misplaced(image, other, [1, 2])
        for (image, _), (_, other) in zip(fields, others, strict=True)
    ]
    assert sum(reason is not None for reason in found) >= 8


def test_what_shows_too_little_is_left_alone(fields):
    image, label = fields[0]
    assert misplaced(image, torch.zeros_like(label), [1, 2]) is None
    assert misplaced(torch.full_like(image, 90), label, [1, 2]) is None
    assert misplaced(image[:, :40, :40], label.flip(0, 1)[:40, :40], [1, 2]) is None


@pytest.mark.parametrize(
    ("classes", "ids"),
    [
        (("soil", "crop", "weed"), [1, 2]),
        (("Background", "Sugar beet", "stone"), [1]),
        (("soil", "oilseed_rape", "Soybean"), [1, 2]),
        (("ground", "vegetation"), [1]),
        (("bare_soil", "stones", "Background", "maize"), [3]),
        (("sky", "road", "vegetation", "terrain"), []),
        (("background", "person", "potted plant"), []),
        (("corner", "price", "drape"), []),
        (("crop", "weed"), []),
    ],
)
def test_plants_are_known_by_their_names(classes, ids):
    assert plant_ids(classes) == ids
    assert np.all(np.array(ids) < len(classes))


@pytest.mark.parametrize("name", ["groundsel", "stonecrop", "strawberry", "rocket", "hearthweed"])
def test_a_plant_whose_name_contains_one_of_the_ground_is_no_ground(name):
    assert not is_ground(name)
