"""The teacher is frozen and has a precision of its own."""

import pytest
import torch

from conventions.preprocessing import Preprocessing
from losses import build_method
from train.teacher import FrozenTeacher, TeacherEnsemble

PREPROCESSING = Preprocessing((0.5,) * 3, (0.2,) * 3)


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


def test_the_head_runs_only_where_its_maps_are_read(teacher):
    assert teacher(draw(1), {"fused"}).fused is not None
    teacher.network.head.fuse = None  # calling it would fail
    out = teacher(draw(1), {"features", "embeddings"})
    assert out.logits is None and len(out.features) == len(out.embeddings) == 4


def test_several_teachers_answer_with_the_mean_of_their_probabilities(build_tiny):
    teachers = [FrozenTeacher(build_tiny(seed=seed), PREPROCESSING) for seed in (1, 2)]
    images = draw(3)
    one, two = (teacher(images).logits.softmax(1) for teacher in teachers)
    mean = TeacherEnsemble(teachers)(images, {"logits"}).logits.softmax(1)
    torch.testing.assert_close(mean, (one + two) / 2)


@pytest.mark.parametrize("method", ["kd", "cwd", "dist", "jml", "bpkd"])
def test_a_teacher_averaged_with_itself_teaches_what_it_teaches_alone(build_tiny, teacher, method):
    images, student = draw(2), build_tiny(seed=1)
    distiller = build_method(method, student, teacher.network)
    out = student.forward_intermediates(images.float() / 255)
    labels = torch.arange(3).repeat_interleave(24)[:64].expand(2, 40, 64)  # bodies and borders

    def learned(teachers):
        answer = teachers(images, {"logits"})
        loss = distiller(out, answer, labels)[method]
        return answer.logits, loss, *torch.autograd.grad(loss, out.logits, retain_graph=True)

    alone, twice = learned(teacher), learned(TeacherEnsemble([teacher, teacher]))
    torch.testing.assert_close(twice, alone, rtol=1e-4, atol=1e-6)
