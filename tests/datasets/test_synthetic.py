import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datasets import build_dataset
from datasets.fields import CROP, SOIL, WEED, draw_field
from datasets.plants import BEET, DICOTS, GRASSES, Light, Plant, draw_plant
from datasets.sugar_beets import SugarBeets
from datasets.synthetic import Synthetic

SIZE = (64, 96)


def field(seed: int, size=SIZE):
    return draw_field(np.random.default_rng(seed), *size)


def test_a_sample_has_the_shape_that_every_data_set_gives():
    dataset = Synthetic(size=SIZE, count=2)
    sample = dataset[1]
    assert sample["image"].shape == (3, *SIZE) and sample["image"].dtype == torch.uint8
    assert sample["label"].shape == SIZE and sample["label"].dtype == torch.uint8
    assert sample["name"] == "train_00001"
    assert dataset.classes == SugarBeets.classes
    assert [dataset.classes[i] for i in (SOIL, CROP, WEED)] == ["soil", "crop", "weed"]


def test_build_dataset_draws_without_a_folder():
    dataset = build_dataset("synthetic", None, "val")
    assert len(dataset) == Synthetic.default_counts["val"]
    assert dataset[0]["image"].shape == (3, *Synthetic.default_size)


def test_a_field_depends_on_seed_split_and_index_alone():
    first, again = Synthetic(size=SIZE, count=3), Synthetic(size=SIZE, count=2)
    for index in range(2):
        assert torch.equal(first[index]["image"], again[index]["image"])
        assert torch.equal(first[index]["label"], again[index]["label"])
    others = [Synthetic(split="val", size=SIZE), Synthetic(size=SIZE, seed=1)]
    for other in others:
        assert not torch.equal(first[0]["image"], other[0]["image"])
    assert not torch.equal(first[0]["image"], first[1]["image"])


def test_loader_workers_give_the_same_fields():
    fields = Synthetic(size=SIZE, count=2)
    loaded = list(DataLoader(fields, batch_size=None, num_workers=1))
    for index in range(2):
        assert torch.equal(fields[index]["image"], loaded[index]["image"])


def test_a_larger_picture_shows_the_same_field():
    for seed in range(3):
        small, large = field(seed, (96, 96))[1], field(seed, (192, 192))[1]
        same = (small == large[::2, ::2])[small > 0].mean()
        assert same > 0.75


def test_plants_are_where_the_label_says():
    """Plants are greener than the ground, on average over whatever light and soil."""
    gaps = []
    for seed in range(12):
        image, label = field(seed)
        green = 2.0 * image[..., 1] - image[..., 0] - image[..., 2]
        if (label > 0).any():
            gaps.append(green[label > 0].mean() - green[label == 0].mean())
    assert np.mean(gaps) > 20


@pytest.mark.parametrize("species", [BEET, *DICOTS, *GRASSES], ids=lambda s: s.name)
def test_image_and_label_are_painted_by_the_same_strokes(species):
    canvas = np.zeros((160, 160, 4), np.uint8)
    canvas[..., :3] = (120, 90, 70)
    no_shadow = Light((1.0, 0.0), 0.0, 0.0, 0.0)
    plant = Plant(species, class_id=2, centre=(80.0, 70.0), radius=60.0, stage=0.7)
    draw_plant(canvas, np.random.default_rng(0), plant, no_shadow)
    painted = (canvas[..., :3] != (120, 90, 70)).any(axis=2)
    assert painted.sum() > 100
    assert np.array_equal(painted, canvas[..., 3] == 2)


def test_a_plant_outside_the_canvas_leaves_it_alone():
    canvas = np.full((40, 40, 4), 7, np.uint8)
    plant = Plant(BEET, 1, (-200.0, 300.0), 20.0, 0.5)
    draw_plant(canvas, np.random.default_rng(0), plant, Light((0.0, 1.0), 0.3, 0.5, 0.1))
    assert (canvas == 7).all()


def test_fields_vary_in_light_cover_and_kinds():
    fields = [field(seed) for seed in range(24)]
    brightness = [image.mean() for image, _ in fields]
    assert max(brightness) > 2 * min(brightness)
    cover = np.array([[(label == c).mean() for c in (SOIL, CROP, WEED)] for _, label in fields])
    assert cover[:, 1].max() > 4 * cover[:, 1].mean() / 2
    assert 0.7 < cover[:, 0].mean() < 0.95
    assert (cover[:, 1:].mean(axis=0) > 0.015).all()


@pytest.mark.parametrize("size", [(32, 32), (33, 101), (130, 47)])
def test_any_size(size):
    image, label = field(0, size)
    assert image.shape == (*size, 3) and label.shape == size
    assert label.max() <= 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": (16, 64)}, "--size 16x64"),
        ({"count": 0}, "--count 0"),
        ({"seed": -1}, "--seed -1"),
        ({"split": "trainval"}, "known: train, val, test"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        Synthetic(**options)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Synthetic(tmp_path / "nowhere")
