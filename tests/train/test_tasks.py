import pytest
import torch

from conventions.preprocessing import Preprocessing
from losses import build_method
from train.segmentation_loss import SegmentationLoss
from train.tasks import DistillationTask, SupervisedTask
from train.teacher import FrozenTeacher

PREPROCESSING = Preprocessing((0.5,) * 3, (0.2,) * 3)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 40, 64), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (2, 40, 64), generator=generator)
    labels[:, :5] = 255
    return images, labels


def test_supervised_task_returns_a_loss(batch, build_tiny):
    terms = SupervisedTask(build_tiny(), SegmentationLoss(), PREPROCESSING)(*batch)
    assert list(terms) == ["loss"]
    assert terms["loss"].ndim == 0


@pytest.fixture
def distillation(build_tiny):
    student = build_tiny()
    teacher = build_tiny(embed_dims=(16, 24, 32, 40), seed=1)
    distiller = build_method("sekd-ct+kd", student, teacher)
    frozen = FrozenTeacher(teacher, PREPROCESSING)
    return DistillationTask(student, SegmentationLoss(), PREPROCESSING, distiller, frozen)


def test_distillation_sums_its_named_terms(batch, distillation):
    terms = distillation(*batch)
    total = terms.pop("loss")
    assert {"cross_entropy", "texture", "relation", "kd"} <= set(terms)
    torch.testing.assert_close(sum(terms.values()), total)


def test_teacher_is_frozen_and_belongs_to_nobody(batch, distillation):
    teacher = distillation.teacher.network
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    distillation.train()
    distillation(*batch)["loss"].backward()
    torch.optim.SGD(distillation.parameters(), lr=1.0).step()
    assert not teacher.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    owned = {id(p) for p in distillation.parameters()}
    assert not owned & {id(p) for p in teacher.parameters()}
    assert not any(key.startswith("teacher") for key in distillation.state_dict())


def test_every_trained_parameter_gets_a_gradient(batch, distillation):
    distillation(*batch)["loss"].backward()
    missing = [name for name, p in distillation.named_parameters() if p.grad is None]
    assert not missing
