import numpy as np
import pytest

from datasets.drawing.camera import photograph
from datasets.drawing.plants import Plant, draw_plant
from datasets.drawing.species import HABITS, draw_species
from datasets.drawing.world import KINDS, draw_scene, draw_world
from datasets.fields import CROP, SOIL, WEED
from datasets.synthetic import Synthetic

SIZE = (64, 96)


def world(seed: int, size=SIZE):
    return draw_world(np.random.default_rng(seed), *size)


def test_a_field_depends_on_its_seed_alone():
    image, label = world(3)
    again = world(3)
    assert np.array_equal(image, again[0]) and np.array_equal(label, again[1])
    assert not np.array_equal(image, world(4)[0])


@pytest.mark.parametrize("size", [(32, 32), (33, 101), (130, 47)])
def test_any_size(size):
    image, label = world(0, size)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert label.shape == size and label.dtype == np.uint8 and label.max() <= WEED


def test_the_data_set_draws_this_variety():
    drawn = Synthetic(size=SIZE, count=2, variety="world")[1]["image"].permute(1, 2, 0).numpy()
    assert np.array_equal(drawn, draw_world(np.random.default_rng([0, 0, 1]), *SIZE)[0])
    with pytest.raises(ValueError, match="variety 'moon'; known: beet, world, mixed"):
        Synthetic(variety="moon")


def test_every_habit_is_painted_by_the_same_strokes_as_its_label():
    """No pixel of a plant without its id, and no id without a plant, whatever the species."""
    rng, seen = np.random.default_rng(0), set()
    for index in range(60):
        species = draw_species(rng, weed=bool(index % 2))
        seen.add((species.leaf.kind, species.arrangement))
        canvas = np.full((160, 160, 4), (3, 2, 1, 0), np.uint8)
        plant = Plant(species, WEED, (80.0, 70.0), 50.0, 0.7, (1.0, 1.0, 1.0))
        draw_plant(canvas, rng, plant, (1.0, 0.0))
        painted = (canvas[..., :3] != (3, 2, 1)).any(axis=2)
        assert painted.sum() > 60, species
        assert np.array_equal(painted, canvas[..., 3] == WEED), species
    assert len(seen) >= len(HABITS)


def test_crops_stand_in_rows_and_weeds_do_not():
    """Across the rows, cover of crop is bunched; cover of weeds is not."""
    bunched = {CROP: [], WEED: []}
    for seed in range(150):
        scene = draw_scene(np.random.default_rng(seed).spawn(4)[0])
        if scene.pattern != "rows" or scene.row_distance < 4 * scene.crop_radius:
            continue
        label = world(seed, (96, 96))[1]
        flat = min(abs(np.sin(scene.row_angle)), abs(np.cos(scene.row_angle))) < 0.15
        across = int(abs(np.cos(scene.row_angle)) > 0.7)
        for value, found in bunched.items():
            share = (label == value).mean(axis=across)
            if flat and share.sum() > 1:
                found.append(share.std() / share.mean())
    assert min(map(len, bunched.values())) > 8
    assert np.median(bunched[CROP]) > 1.15 * np.median(bunched[WEED])


def test_fields_vary_and_hold_all_classes():
    fields = [world(seed) for seed in range(40)]
    brightness = [image.mean() for image, _ in fields]
    assert max(brightness) > 2 * min(brightness)
    cover = np.array([[(label == c).mean() for c in (SOIL, CROP, WEED)] for _, label in fields])
    assert 0.6 < cover[:, SOIL].mean() < 0.95
    assert (cover[:, 1:].mean(axis=0) > 0.02).all()
    assert (cover[:, WEED] == 0).any() and (cover[:, CROP] == 0).any()


@pytest.mark.parametrize(("without", "least", "most"), [([], 0.05, 0.5), (["infrared"], 0, 0.01)])
def test_near_infrared_makes_plants_bright_in_every_camera(without, least, most):
    """In a band of near infrared plants are brighter than soil that looked the same before."""
    cover = np.zeros((40, 40), np.float32)
    cover[10:30, 10:30] = 1
    grey = np.full((40, 40, 3), 90, np.float32)
    differences = []
    for seed in range(60):
        photo = photograph(np.random.default_rng(seed), grey, cover, without).astype(float)
        differences.append(photo[12:28, 12:28].mean((0, 1)) - photo[:8].mean((0, 1)))
    brighter = np.max(differences, axis=1) > 40  # more than clouds and shade do
    assert least <= brighter.mean() < most


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_variation_can_be_left_out_and_the_rest_stays(kind):
    """Fields that do not have it are drawn alike; of the others some change, and vary as before."""
    unchanged = without_another = 0
    another = "infrared" if kind == "shadows" else "shadows"
    for seed in range(24):
        image, label = world(seed)
        bare, its_label = draw_world(np.random.default_rng(seed), *SIZE, without=[kind])
        assert kind == "tilt" or np.array_equal(label, its_label)
        unchanged += np.array_equal(image, bare)
        barer, _ = draw_world(np.random.default_rng(seed), *SIZE, without=[kind, another])
        without_another += np.array_equal(bare, barer)
    assert unchanged < 24
    assert unchanged > 0 or kind in ("grounds", "camera")  # which all fields have
    assert 0 < without_another < 24


def test_mixed_fields_are_of_both_varieties():
    drawn = Synthetic(size=SIZE, count=24, variety="mixed")
    varieties = [Synthetic(size=SIZE, count=24, variety=name) for name in ("beet", "world")]
    alike = [
        sum(np.array_equal(drawn.read(i)[1], fields.read(i)[1]) for i in range(24))
        for fields in varieties
    ]
    # The draw that chooses the variety leaves the generators of its parts as they are.
    assert min(alike) >= 4 and sum(alike) == 24
