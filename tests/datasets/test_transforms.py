import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F

from conventions.preprocessing import IMAGENET_MEAN, IMAGENET_STD, UNNORMALISED, Preprocessing
from datasets.transforms import (
    FILL,
    EvalTransform,
    PaperTransform,
    TrainTransform,
    collate,
    normalize,
    resized_window,
    scaled_size,
)


def blocks(height: int, width: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """An image that spells out its label: blocks of 40 * id."""
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    label = ((3 * rows[:, None] + columns) % 6).to(torch.uint8)
    return (40 * label).expand(3, -1, -1).contiguous(), label


def disagreement(image: torch.Tensor, label: torch.Tensor) -> float:
    """Share of the pixels inside the image whose colour spells another id than their label."""
    inside = label != 255
    spelt = (image[0].float() / 40).round()
    return float((spelt[inside] != label[inside]).float().mean())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(40, 200), st.integers(40, 200)),
    image_size=st.one_of(st.none(), st.integers(80, 160), st.just((96, 160))),
    crop=st.sampled_from([64, (48, 112), (200, 90)]),
    rotate=st.sampled_from([0, 30, 180]),
    shift=st.sampled_from([0, 8]),
)
def test_image_and_label_stay_together(seed, size, image_size, crop, rotate, shift):
    torch.manual_seed(seed)
    transform = TrainTransform(
        image_size, crop, scale_range=(0.8, 2), rotate=rotate, photometric=False, shift=shift
    )
    image, label = transform(*blocks(*size))
    height, width = (crop, crop) if isinstance(crop, int) else crop
    assert image.shape == (3, height, width)
    assert label.shape == (height, width)
    assert image.dtype == label.dtype == torch.uint8
    assert type(image) is type(label) is torch.Tensor
    # Colours blend within a pixel or two of a block's edge; the fill colour spells 3.
    assert disagreement(image, label) < 0.4
    assert set(label.unique().tolist()) <= {*range(6), 255}


@pytest.mark.parametrize("rotate", [0, 45])
@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7])
def test_no_offset_between_image_and_label(rotate, scale):
    """The bright disc of the image and the 1s of the label have the same centre."""
    offsets = []
    for seed in range(12):
        torch.manual_seed(seed)
        side = round(150 * scale)  # the whole image is in view
        transform = TrainTransform(
            None, side, (scale, scale), rotate=rotate, photometric=False, flip=False
        )
        rows, columns = torch.meshgrid(torch.arange(120), torch.arange(120), indexing="ij")
        label = ((rows - 55) ** 2 + (columns - 70) ** 2 < 30**2).to(torch.uint8)
        image = (240 * label).expand(3, -1, -1).contiguous()
        image, label = transform(image, label)
        bright = (image[0].float() - max(FILL)).clamp(min=0)  # without the rim of the fill colour
        mass = torch.stack([bright, label % 255])
        grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
        centres = (mass[:, None] * grid).sum((-2, -1)) / mass.sum((-2, -1))[:, None]
        offsets.append(centres[0] - centres[1])
    assert torch.stack(offsets).mean(0).abs().max() < 0.15  # px


def test_border_is_void_and_mean_colour():
    image, label = blocks(30, 40)
    for rotate in (0, 30):
        transform = TrainTransform(None, 96, (1, 1), photometric=False, rotate=rotate)
        image_crop, label_crop = transform(image, label)
        outside = label_crop == 255
        if not rotate:
            assert outside.sum() == 96 * 96 - 30 * 40
            assert image_crop[:, outside].equal(
                torch.tensor(FILL, dtype=torch.uint8)[:, None].expand(-1, outside.sum())
            )
        assert outside.sum() > 96 * 96 - 30 * 40 - 60


def test_rotated_crop_takes_its_corners_from_the_image():
    torch.manual_seed(0)
    transform = TrainTransform(None, 64, (1, 1), rotate=180, photometric=False)
    shares = [(transform(*blocks(400, 400))[1] == 255).float().mean() for _ in range(20)]
    assert sorted(shares)[10] == 0


def test_window_equals_crop_of_the_resized_image():
    torch.manual_seed(0)
    image = F.resize_image(torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8), [200, 300])
    label = (image[0] > 128).to(torch.uint8)
    window, mask = resized_window(image, label, (100, 150), (20, 40), (50, 60))
    whole = F.resize_image(image, [100, 150], antialias=True)
    assert (window.int() - whole[:, 20:70, 40:100].int()).abs()[:, 2:-2, 2:-2].max() <= 1
    assert mask.shape == (50, 60)
    same, mask = resized_window(image, label, (200, 300), (20, 40), (50, 60))
    assert same.equal(image[:, 20:70, 40:100])
    assert mask.equal(label[20:70, 40:100])


@pytest.mark.parametrize("corner", [(-500, 0), (0, 500)])
def test_window_off_the_image_is_void(corner):
    image, label = blocks(30, 40)
    _, mask = resized_window(image, label, (30, 40), corner, (16, 16))
    assert (mask == 255).all()


def test_seed_repeats_a_sample_and_the_input_is_left_alone():
    image, label = blocks(90, 120)
    before = image.clone(), label.clone()
    transform = TrainTransform(80, 64, rotate=20, shift=4)
    seen = []
    for seed in (3, 4, 3):
        torch.manual_seed(seed)
        seen.append(transform(image, label))
    assert all(a.equal(b) for a, b in zip(seen[0], seen[2], strict=True))
    assert not seen[0][0].equal(seen[1][0])
    assert image.equal(before[0])
    assert label.equal(before[1])


def test_flip_alone():
    image, label = blocks(32, 48)
    transform = TrainTransform(None, None, (1, 1), photometric=False)
    torch.manual_seed(0)
    flipped = []
    for _ in range(40):
        a, b = transform(image, label)
        flipped.append(a.equal(image.flip(-1)))
        assert b.equal(label.flip(-1) if flipped[-1] else label)
    assert 8 < sum(flipped) < 32


def test_scaled_size():
    assert scaled_size((966, 1296), None) == (966, 1296)
    assert scaled_size((966, 1296), 483) == (484, 648)
    assert scaled_size((966, 1296), 576) == (576, 772)
    assert scaled_size((1296, 966), 480) == (644, 480)
    assert scaled_size((966, 1296), (480, 640)) == (480, 640)
    assert scaled_size((1, 1000), 32) == (32, 32000)


def test_eval_transform_keeps_the_label():
    image, label = blocks(50, 70)
    resized, same = EvalTransform((32, 64))(image, label)
    assert resized.shape == (3, 32, 64)
    assert resized.dtype == torch.uint8
    assert same is label
    assert EvalTransform(None)(image, label)[0].equal(image)
    assert EvalTransform(25)(image, label)[0].shape == (3, 24, 36)


def test_paper_transform():
    image, label = blocks(60, 90)
    label[:10] = 255
    small_image, small_label = PaperTransform(48, 66, train=False, outputs=6)(image, label)
    assert small_image.shape == (3, 48, 66)
    assert small_label.shape == (12, 17)
    assert small_label.max() == 5  # void counts as the last class
    assert (small_label[0] == 5).all()
    torch.manual_seed(0)
    shifted = PaperTransform(48, 66, train=True, outputs=6)
    views = [shifted(image, label) for _ in range(30)]
    assert all(v.shape == (3, 48, 66) and m.shape == (12, 17) for v, m in views)
    assert len({int(v.sum()) for v, _ in views}) > 10
    assert all(int(m.max()) <= 5 for _, m in views)


def test_paper_shift_moves_both_and_fills_with_the_last_class():
    image = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    label = torch.zeros(64, 64, dtype=torch.uint8)
    transform = PaperTransform(64, 64, train=True, outputs=3)
    transform.label_size = (64, 64)
    torch.manual_seed(1)
    for _ in range(20):
        shifted, moved = transform(image, label)
        assert ((shifted[0] == 0) == (moved == 2)).all()
        assert (moved == 2).sum() <= 4 * 64 - 4


def test_paper_labels_are_shrunk_in_one_step():
    """The value at the middle of each cell of the original, whatever the image's size between."""
    label = torch.randint(0, 6, (97, 131), dtype=torch.uint8)
    image = torch.zeros(3, 97, 131, dtype=torch.uint8)
    _, small = PaperTransform(48, 66, train=False, outputs=6)(image, label)
    expected = [
        [label[int((i + 0.5) * 97 / 12), int((j + 0.5) * 131 / 17)] for j in range(17)]
        for i in range(12)
    ]
    assert torch.equal(small, torch.tensor(expected))


def test_collate():
    def sample(height: int) -> dict:
        image, label = blocks(height, 40)
        return {"image": image, "label": label, "name": str(height)}

    batch = collate([sample(32), sample(32)])
    assert batch["image"].shape == (2, 3, 32, 40)
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].shape == (2, 32, 40)
    assert batch["label"].dtype == torch.uint8
    assert batch["name"] == ["32", "32"]
    batch = collate([sample(32), sample(48)])
    assert [tuple(image.shape) for image in batch["image"]] == [(3, 32, 40), (3, 48, 40)]
    assert [label.dtype for label in batch["label"]] == [torch.uint8] * 2


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7)])
def test_normalize(shape):
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    mean, std = (
        torch.tensor(IMAGENET_MEAN)[:, None, None],
        torch.tensor(IMAGENET_STD)[:, None, None],
    )
    expected = (images.float() / 255 - mean) / std
    assert torch.allclose(normalize(images, Preprocessing()), expected, atol=1e-5)
    assert torch.allclose(normalize(images, UNNORMALISED), images / 255)
    floats = images.float()
    normalize(floats, Preprocessing())
    assert torch.equal(floats, images.float())  # a caller may still use them
