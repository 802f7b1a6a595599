"""A cached teacher sees each image once, whole, and answers about views of it."""

import psutil
import pytest
import torch

from conventions.preprocessing import Preprocessing
from datasets.transforms import TrainTransform, collate
from datasets.views import ViewedDataset
from losses.declaration import maps_of
from train.cached_teacher import CachedTeacher
from train.teacher import FrozenTeacher

READS = ("logits", "features", "embeddings")
SIZE = (64, 96)


class Counting(FrozenTeacher):
    """A teacher that counts what it is asked."""

    asked = 0

    def __call__(self, images, reads):
        self.asked += 1
        return super().__call__(images, reads)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    photos = torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8, generator=generator)
    label = torch.zeros(SIZE, dtype=torch.uint8)
    return [{"image": photo, "label": label, "name": str(i)} for i, photo in enumerate(photos)]


@pytest.fixture
def teacher(build_tiny):
    return Counting(build_tiny(), Preprocessing())


def batch_of(images, indices, **transform):
    views = ViewedDataset(images, TrainTransform(None, None, **transform).with_view)
    return collate([views[index] for index in indices])


def answers(teacher, batch):
    teacher.recall(batch)
    return teacher(batch["image"], READS)


def test_of_whole_images_it_says_what_its_teacher_says(teacher, images):
    batch = batch_of(images, [2, 0], scale_range=(1, 1), flip=False, photometric=False)
    own, cached = (
        teacher(batch["image"], READS),
        answers(CachedTeacher(teacher, images, READS), batch),
    )
    for name in READS:
        for one, other in zip(maps_of(own, name), maps_of(cached, name), strict=True):
            torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
    assert cached.images is batch["image"]


def test_of_a_mirrored_image_it_says_the_mirrored(teacher, images):
    cached = CachedTeacher(teacher, images, READS)
    flat = {"scale_range": (1, 1), "photometric": False}
    plain = answers(cached, batch_of(images, [1], flip=False, **flat)).logits
    torch.manual_seed(0)
    mirrored = [answers(cached, batch_of(images, [1], **flat)).logits for _ in range(8)]
    same, turned = plain.sub(plain).abs().max(), plain.flip(-1)
    found = {
        "plain" if torch.allclose(each, plain, atol=1e-4) else "mirrored"
        for each in mirrored
        if torch.allclose(each, plain, atol=1e-4) or torch.allclose(each, turned, atol=1e-4)
    }
    assert same == 0 and found == {"plain", "mirrored"}


def test_maps_have_the_size_that_the_teacher_gives_a_view(teacher, images):
    views = ViewedDataset(images, TrainTransform(None, (50, 34), rotate=20).with_view)
    batch = collate([views[0], views[1]])
    own, cached = (
        teacher(batch["image"], READS),
        answers(CachedTeacher(teacher, images, READS), batch),
    )
    for name in READS:
        shapes = [[each.shape for each in maps_of(out, name)] for out in (own, cached)]
        assert shapes[0] == shapes[1]


def test_each_image_is_asked_about_once(teacher, images):
    cached = CachedTeacher(teacher, images, READS)
    for indices in ([0, 1], [1, 0], [2, 2], [0, 2]):
        answers(cached, batch_of(images, indices))
    assert teacher.asked == 1 + len(images)  # a view, for the sizes of its maps


def test_answers_that_do_not_fit_are_one_line(teacher, images, monkeypatch):
    memory = type("memory", (), {"available": 1000})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(ValueError, match=r"--kd-cache: .*3 images take 0\.\d GB.*leave it out"):
        answers(CachedTeacher(teacher, images, READS), batch_of(images, [0]))
