"""A cached teacher sees each image once, whole, and answers about views of it."""

import psutil
import pytest
import torch

from conventions.preprocessing import Preprocessing
from datasets.transforms import TrainTransform, collate
from datasets.views import ViewedDataset
from train.cached_teacher import LARGEST_SHARE, CachedTeacher
from train.teacher import FrozenTeacher, TeacherEnsemble

SIZE = (64, 96)


class Counting(FrozenTeacher):
    """A teacher that counts what it is asked."""

    asked = 0

    def __call__(self, images, reads):
        self.asked += 1
        return super().__call__(images, reads)


def draw(*sizes):
    generator = torch.Generator().manual_seed(0)
    photos = [torch.randint(0, 256, (3, *size), generator=generator).byte() for size in sizes]
    return [
        {"image": photo, "label": torch.zeros(photo.shape[1:]).byte(), "name": str(index)}
        for index, photo in enumerate(photos)
    ]


@pytest.fixture
def images():
    return draw(SIZE, SIZE, SIZE)


@pytest.fixture
def teacher(build_tiny):
    return Counting(build_tiny(), Preprocessing())


def batch_of(images, indices, crop=None, **transform):
    views = ViewedDataset(images, TrainTransform(None, crop, **transform).with_view)
    return collate([views[index] for index in indices])


def answer(teacher, batch):
    teacher.recall(batch)
    return teacher(batch["image"], {"logits"})


def test_of_whole_images_it_says_what_its_teacher_says(teacher, images):
    batch = batch_of(images, [2, 0], scale_range=(1, 1), flip=False, photometric=False)
    own, cached = teacher(batch["image"], {"logits"}), answer(CachedTeacher(teacher, images), batch)
    torch.testing.assert_close(own.logits, cached.logits, atol=2e-3, rtol=2e-3)
    assert cached.images is batch["image"]


def test_of_a_mirrored_image_it_says_the_mirrored(teacher, images):
    cached, flat = CachedTeacher(teacher, images), {"scale_range": (1, 1), "photometric": False}
    plain = answer(cached, batch_of(images, [1], flip=False, **flat)).logits
    torch.manual_seed(0)
    found = [answer(cached, batch_of(images, [1], **flat)).logits for _ in range(8)]
    alike = [torch.allclose(each, plain, atol=1e-4) for each in found]
    mirrored = [torch.allclose(each, plain.flip(-1), atol=1e-4) for each in found]
    assert {*zip(alike, mirrored, strict=True)} == {(True, False), (False, True)}


def test_logits_have_the_size_that_the_teacher_gives_a_view(teacher):
    images = draw((64, 96), (50, 70))
    batch = batch_of(images, [0, 1], crop=(50, 34), rotate=20)
    own, cached = teacher(batch["image"], {"logits"}), answer(CachedTeacher(teacher, images), batch)
    assert own.logits.shape == cached.logits.shape == (2, 3, 13, 9)


def test_a_teacher_may_see_more_detail_than_its_student(teacher):
    sharp = draw((128, 192))
    coarse = [
        {**sharp[0], "image": sharp[0]["image"][:, ::2, ::2], "label": sharp[0]["label"][::2, ::2]}
    ]
    batch = batch_of(coarse, [0], crop=(64, 96), scale_range=(1, 1), flip=False, photometric=False)
    cached = answer(CachedTeacher(teacher, sharp), batch).logits
    whole = teacher(sharp[0]["image"][None], {"logits"}).logits
    expected = torch.nn.functional.interpolate(whole, cached.shape[-2:], mode="bilinear")
    torch.testing.assert_close(cached, expected, atol=2e-3, rtol=2e-3)


def test_each_image_is_asked_about_once(teacher, images):
    cached = CachedTeacher(teacher, images)
    for indices in ([0, 1], [1, 0], [2, 2], [0, 2]):
        answer(cached, batch_of(images, indices))
    assert teacher.asked == 1 + len(images)  # a view, for the size of its logits


def test_several_teachers_are_cached_as_one(build_tiny, images):
    teachers = [FrozenTeacher(build_tiny(seed=seed), Preprocessing()) for seed in (1, 2)]
    both = TeacherEnsemble(teachers)
    batch = batch_of(images, [0], scale_range=(1, 1), flip=False, photometric=False)
    own, cached = both(batch["image"], {"logits"}), answer(CachedTeacher(both, images), batch)
    torch.testing.assert_close(own.logits, cached.logits, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(("processes", "fits"), [(1, True), (2, False)])
def test_answers_that_do_not_fit_are_one_line(processes, fits, teacher, images, monkeypatch):
    need = len(images) * 3 * 16 * 24 * 2
    memory = type("memory", (), {"available": 1.5 * need / LARGEST_SHARE})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    cached, batch = CachedTeacher(teacher, images, processes), batch_of(images, [0])
    if fits:
        answer(cached, batch)
        return
    with pytest.raises(ValueError, match=r"3 images take 0\.\d GB.*smaller --image-size"):
        answer(cached, batch)


def test_a_whole_image_that_is_too_large_for_the_teacher_is_one_line(teacher, images):
    cached, batch = CachedTeacher(teacher, images), batch_of(images, [0])
    answer(cached, batch)

    def too_large(*_):
        raise torch.OutOfMemoryError

    cached.teacher = too_large
    with pytest.raises(ValueError, match="a whole image, of 96 x 64 px, which needs"):
        answer(cached, batch_of(images, [1]))
