"""The teacher answers in its own precision, and a remembering one gives the same answers."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from train.teacher import FrozenTeacher, RememberingTeacher

PREPROCESSING = {"mean": [0.5] * 3, "std": [0.2] * 3}


def draw(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 40, 64), dtype=torch.uint8, generator=generator)


def maps_of(out):
    return [out.logits, *out.features, *out.embeddings]


@pytest.fixture
def teacher(build_tiny):
    return FrozenTeacher(build_tiny(), PREPROCESSING)


def test_answers_without_gradients(teacher):
    out = teacher(draw(1))
    assert not any(maps.requires_grad for maps in maps_of(out))
    assert not teacher.network.training


def test_has_a_precision_of_its_own(build_tiny):
    images = draw(2)
    exact = FrozenTeacher(build_tiny(), PREPROCESSING)(images)
    rounded = FrozenTeacher(build_tiny(), PREPROCESSING, precision=torch.bfloat16)(images)
    assert rounded.logits.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.logits.float(), exact.logits, atol=0.05, rtol=0.05)
    precise = FrozenTeacher(build_tiny(), PREPROCESSING, precision=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(precise(images).logits, exact.logits)


def test_remembers_every_image_wherever_it_comes(teacher):
    images = draw(3)
    asked = []
    forward = teacher.network.forward_intermediates
    teacher.network.forward_intermediates = lambda x, *a: asked.append(len(x)) or forward(x, *a)
    remembering = RememberingTeacher(teacher, expected=3)
    first = remembering(images)
    assert asked == [1, 1, 1]
    again = remembering(images[[2, 0]])
    assert asked == [1, 1, 1]
    for maps, whole, repeated in zip(
        maps_of(first), maps_of(teacher(images)), maps_of(again), strict=True
    ):
        torch.testing.assert_close(maps, whole, atol=1e-5, rtol=1e-5)
        assert torch.equal(repeated, maps[[2, 0]])
        assert maps.stride() == whole.stride()  # channels-last, as losses like it


def test_keeps_what_is_read_only(teacher):
    out = RememberingTeacher(teacher, expected=1)(draw(1), {"embeddings"})
    assert (len(out.embeddings), len(out.features), out.logits) == (4, 0, None)


def test_the_head_runs_only_where_logits_are_read(teacher):
    teacher.network.head.forward = None  # calling it would fail
    out = teacher(draw(1), {"features", "embeddings"})
    assert out.logits is None and len(out.features) == len(out.embeddings) == 4


def test_answers_that_will_not_fit_are_told(teacher, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**6))
    with pytest.raises(ValueError, match="--teacher-cache: answers to 1000 images take"):
        RememberingTeacher(teacher, expected=1000)(draw(1))
