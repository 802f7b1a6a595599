import pytest
import torch

from conventions.labels import UNLABELLED, VOID
from conventions.preprocessing import Preprocessing
from datasets.transforms import normalize
from losses import build_method
from train.segmentation_loss import SegmentationLoss
from train.tasks import DistillationTask, SupervisedTask
from train.teacher import FrozenTeacher, TeacherEnsemble

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


def test_several_teachers_distil_as_one(batch, build_tiny):
    student = build_tiny()
    several = TeacherEnsemble([FrozenTeacher(build_tiny(seed=i), PREPROCESSING) for i in (1, 2)])
    distiller = build_method("kd", student, several.network)
    task = DistillationTask(student, SegmentationLoss(), PREPROCESSING, distiller, several)
    assert task(*batch)["kd"] > 0


def test_terms_of_the_method_grow_in_the_warm_up(batch, build_tiny):
    student, teacher = build_tiny(), FrozenTeacher(build_tiny(seed=1), PREPROCESSING)
    distiller = build_method("kd", student, teacher.network)
    parts = (student, SegmentationLoss(), PREPROCESSING, distiller, teacher)
    task = DistillationTask(*parts, warmup=3).eval()  # without dropout
    whole = DistillationTask(*parts).eval()(*batch)
    for step, share in ((0, 1 / 4), (1, 2 / 4), (2, 3 / 4), (3, 1), (9, 1)):
        task.begin_step(step, {})
        terms = task(*batch)
        torch.testing.assert_close(terms["kd"], share * whole["kd"])
        torch.testing.assert_close(terms["cross_entropy"], whole["cross_entropy"])
        torch.testing.assert_close(terms["loss"], terms["cross_entropy"] + terms["kd"])


def test_after_its_steps_the_teacher_is_not_asked_and_labels_alone_are_learnt(batch, build_tiny):
    student, frozen = build_tiny(), FrozenTeacher(build_tiny(seed=1), PREPROCESSING)
    asked = []

    def teacher(images, reads):
        asked.append(reads)
        return frozen(images, reads)

    distiller = build_method("sekd-ct", student, frozen.network)
    parts = (student, SegmentationLoss(), PREPROCESSING)
    task = DistillationTask(*parts, distiller, teacher, taught_steps=2).eval()
    task.begin_step(1, {})
    names = list(task(*batch))
    assert len(asked) == 1
    task.begin_step(2, {})
    terms = task(*batch)
    assert len(asked) == 1
    assert list(terms) == names  # the log's columns
    alone = SupervisedTask(*parts).eval()(*batch)["loss"]
    assert torch.equal(terms["loss"], alone) and torch.equal(terms["cross_entropy"], alone)
    assert not any(terms[name] for name in distiller.losses)
    terms["loss"].backward()
    gradients = {name: p.grad for name, p in task.named_parameters()}
    assert all(grad is not None for grad in gradients.values())  # as DDP asks
    assert not any(gradients[f"distiller.{name}"].any() for name, _ in distiller.named_parameters())
    task.begin_step(0, {})
    task(*batch)
    assert len(asked) == 2


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


@pytest.fixture
def half_unlabelled(batch):
    images, labels = batch
    labels[1, 5:] = UNLABELLED  # its first rows are the border that a transform fills
    return images, labels


def distil(build_tiny, method, batch, views):
    """Terms of a fresh task; of `views`, what the student sees is dark."""
    student = build_tiny()
    teacher = build_tiny(embed_dims=(16, 24, 32, 40), seed=1)
    frozen, seen = FrozenTeacher(teacher, PREPROCESSING), []

    def watched(images, reads):
        seen.append(images)
        return frozen(images, reads)

    distiller = build_method(method, student, teacher)
    task = DistillationTask(
        student, SegmentationLoss(), PREPROCESSING, distiller, watched, views=views
    )
    return task.eval()(*batch), seen[0]


def darken(images, chosen):
    return torch.where(chosen[:, None, None, None], images // 2, images)


def test_cross_entropy_does_not_see_unlabelled_images_and_the_teacher_sees_them_as_they_are(
    half_unlabelled, build_tiny
):
    images, labels = half_unlabelled
    terms, seen = distil(build_tiny, "sekd-ct+kd", half_unlabelled, darken)
    assert torch.equal(seen, images)
    void = labels.masked_fill(labels == UNLABELLED, VOID)
    alone, _ = distil(build_tiny, "sekd-ct+kd", (images, void), None)
    torch.testing.assert_close(terms["cross_entropy"], alone["cross_entropy"])
    assert terms["kd"] != alone["kd"] and terms["relation"] != alone["relation"]


def test_terms_learn_from_unlabelled_images_but_not_from_their_border(batch, build_tiny):
    images, labels = batch
    bare = torch.full_like(labels, UNLABELLED)
    terms, _ = distil(build_tiny, "kd", (images, bare), darken)
    assert terms["kd"] > 0
    border, _ = distil(build_tiny, "kd", (images, torch.full_like(labels, VOID)), darken)
    assert border["kd"] == 0


def test_bpkd_takes_the_teachers_class_where_there_is_no_label(half_unlabelled, build_tiny):
    terms, _ = distil(build_tiny, "bpkd", half_unlabelled, darken)
    images, labels = half_unlabelled
    teacher = build_tiny(embed_dims=(16, 24, 32, 40), seed=1).eval()
    answers = FrozenTeacher(teacher, PREPROCESSING)(images, {"logits"}).logits.argmax(1)
    full = torch.nn.functional.interpolate(answers[:, None].float(), labels.shape[-2:],
                                           mode="nearest-exact")[:, 0].long()  # fmt: skip
    told = labels.where(labels != UNLABELLED, full)
    dark = darken(images, torch.tensor([False, True]))
    student = build_tiny().eval()
    student_out = student.forward_intermediates(normalize(dark, PREPROCESSING))
    distiller = build_method("bpkd", student, teacher)
    teacher_out = FrozenTeacher(teacher, PREPROCESSING)(images, distiller.reads)
    expected = distiller(student_out, teacher_out, told)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_jml_asks_an_unlabelled_pixel_for_no_more_than_the_teacher_says(batch, build_tiny):
    images, labels = batch
    bare = torch.full_like(labels, UNLABELLED)
    network = build_tiny()
    distiller = build_method("jml", network, network)
    teacher = FrozenTeacher(network, PREPROCESSING)
    task = DistillationTask(
        network,
        SegmentationLoss(),
        PREPROCESSING,
        distiller,
        teacher,
        views=lambda images, _: images,
    )
    assert task.eval()(images, bare)["jml"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("method", ["af-dcd", "transkd-gl", "reviewkd"])
def test_every_kind_of_method_learns_from_unlabelled_images(method, batch, build_tiny):
    images, labels = batch
    bare = torch.full_like(labels, UNLABELLED)
    terms, _ = distil(build_tiny, method, (images, bare), darken)
    assert terms.pop("cross_entropy") == 0
    assert all(value.isfinite() and value > 0 for value in terms.values())
