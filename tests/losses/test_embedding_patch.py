"""The texture term against golden values, an unfolding reference and hand-computed ones."""

import pytest
import torch

from benchmarks import unfolded_texture
from losses.embedding_patch import EmbeddingMSELoss, TextureDifference, TexturePatchLoss
from losses.laplacian_pyramid import structural_difference
from losses.patch_statistics import statistical_difference

SIZES = [(8, 8), (7, 8), (8, 5), (9, 11), (2, 6), (3, 3), (1, 4), (1, 1), (16, 6)]


def pair(size: tuple[int, int], dtype=torch.float64, channels: int = 3, mean: float = 0.0):
    generator = torch.Generator().manual_seed(0)
    shape = (2, channels, *size)
    return (torch.randn(shape, generator=generator, dtype=dtype) + mean for _ in range(2))


def value_and_gradient(loss, student, teacher):
    student = student.detach().requires_grad_()
    value = loss([student], [teacher])
    value.backward()
    return value.detach(), student.grad


def fast(student_maps, teacher_maps):
    """The loss at the precision of its input."""
    return TextureDifference.apply(student_maps[0], teacher_maps[0])


def channels_last(maps):
    return maps.permute(0, 2, 3, 1)


def test_golden_value(golden, golden_maps):
    loss = TexturePatchLoss()(golden_maps("student.embedding"), golden_maps("teacher.embedding"))
    assert loss.item() == pytest.approx(golden("sekd")["losses"]["embedding_patch_texture"], 1e-5)


def test_golden_parts_of_every_stage(golden, golden_maps):
    expected = golden("sekd")["losses"]["embedding_patch_texture_per_stage_structural_statistical"]
    students, teachers = golden_maps("student.embedding"), golden_maps("teacher.embedding")
    for student, teacher, parts in zip(students, teachers, expected, strict=True):
        student, teacher = channels_last(student), channels_last(teacher)
        ours = structural_difference(student, teacher), statistical_difference(student, teacher)
        assert [value.item() for value, _ in ours] == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_unfolding_reference(size):
    student, teacher = pair(size)
    value, gradient = value_and_gradient(fast, student, teacher)
    expected, expected_gradient = value_and_gradient(unfolded_texture.texture, student, teacher)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 24), (15, 33)])
def test_equals_the_unfolding_reference_in_float32(size):
    student, teacher = pair(size, torch.float32, channels=8)
    value, gradient = value_and_gradient(TexturePatchLoss(), student, teacher)
    expected, expected_gradient = value_and_gradient(unfolded_texture.texture, student, teacher)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6 * 1e-2)


def test_a_large_mean_costs_no_digits():
    student, teacher = pair((16, 16), mean=1000.0)
    inner = slice(2, -2)  # away from the border, where the zeros outside make the mean matter
    value, gradient = value_and_gradient(TexturePatchLoss(), student.float(), teacher.float())
    expected, expected_gradient = value_and_gradient(
        unfolded_texture.texture, student.float().double(), teacher.float().double()
    )
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(
        gradient[..., inner, inner].double(),
        expected_gradient[..., inner, inner],
        rtol=1e-3,
        atol=1e-6,
    )


def test_gradient_by_finite_differences():
    student, teacher = pair((5, 6), channels=2)
    torch.autograd.gradcheck(TextureDifference.apply, (student.requires_grad_(), teacher))


def test_a_single_pixel_by_hand():
    """A lone pixel of 3 beside one of 1, a difference of 2.

    A blur keeps k = 1 / (1 + 2 exp(-1/2) + 2 exp(-2))^2 of it, so that the pyramid holds 2 (1 - k),
    2 k (1 - k) and 2 k^2. Each patch is that pixel and fifteen zeros: both normalise to the same.
    """
    kept = (1 + 2 * torch.exp(torch.tensor(-0.5)) + 2 * torch.exp(torch.tensor(-2.0))) ** -2
    expected = 4 * ((1 - kept) ** 2 + (kept * (1 - kept)) ** 2 + kept**4)
    loss = TexturePatchLoss()([torch.full((1, 1, 1, 1), 3.0)], [torch.ones(1, 1, 1, 1)])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_opposite_patches_by_hand():
    """x and -x normalise to opposites: (2 p)^2, and p has a mean square of 15/16 in each patch."""
    maps, _ = pair((8, 8))
    value, _ = statistical_difference(channels_last(maps), channels_last(-maps))
    assert value.item() == pytest.approx(4 * 15 / 16, rel=1e-4)


@pytest.mark.parametrize("loss", [TexturePatchLoss(), EmbeddingMSELoss((1.0,))])
def test_identical_maps_cost_nothing(loss):
    maps, other = pair((9, 6), torch.float32)
    value, gradient = value_and_gradient(loss, maps, maps.clone())
    assert value.shape == ()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6
    assert loss([maps], [other]) > 0.1


@pytest.mark.parametrize("flat", ["student", "teacher", "both"])
def test_flat_patches_have_finite_gradients(flat):
    student, teacher = pair((12, 12), torch.float32)
    if flat in ("student", "both"):
        student = torch.full_like(student, 0.3)
    if flat in ("teacher", "both"):
        teacher = torch.zeros_like(teacher)
    value, gradient = value_and_gradient(TexturePatchLoss(), student, teacher)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_float32_under_autocast():
    student, teacher = pair((16, 12), torch.float32)
    expected, expected_gradient = value_and_gradient(TexturePatchLoss(), student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(TexturePatchLoss(), student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


def test_half_precision_maps_get_gradients_of_their_type():
    student, teacher = (maps.bfloat16() for maps in pair((16, 12)))
    value, gradient = value_and_gradient(TexturePatchLoss(), student, teacher)
    assert value.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    assert gradient.isfinite().all()


def test_mean_over_stages():
    sizes = [(8, 8), (4, 6)]
    students, teachers = zip(*(pair(size, torch.float32) for size in sizes), strict=True)
    loss = TexturePatchLoss()
    alone = [loss([s], [t]) for s, t in zip(students, teachers, strict=True)]
    assert loss(students, teachers).item() == pytest.approx(sum(alone).item() / 2)


def test_embedding_mse_golden_value(golden, golden_maps):
    loss = EmbeddingMSELoss()(golden_maps("student.embedding"), golden_maps("teacher.embedding"))
    expected = golden("transkd")["losses"]["embedding_mse_weighted"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_embedding_mse_by_hand():
    students = [torch.zeros(1, 2, 2, 3), torch.zeros(1, 1, 1, 1)]
    teachers = [torch.full((1, 2, 2, 3), 2.0), torch.full((1, 1, 1, 1), 3.0)]
    assert EmbeddingMSELoss((0.5, 1.0))(students, teachers).item() == 0.5 * 4 + 9
