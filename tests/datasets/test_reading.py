import random
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from datasets.reading import is_faint, map_colours, map_ids, read_image, read_indices
from tests.soak.mutations import damaged_bytes

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def chw(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_rgb_and_alpha(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        image = read_image(tmp_path / name)
        assert image.dtype == torch.uint8
        assert image.equal(chw(RGB))


def test_grey_and_16_bit(tmp_path):
    grey = RGB[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 256 + 200).save(tmp_path / "deep.png")
    expected = torch.from_numpy(grey).expand(3, -1, -1)
    assert read_image(tmp_path / "grey.png").equal(expected)
    assert read_image(tmp_path / "deep.png").equal(expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette(tmp_path, bits):
    indices = RGB[..., 0] % 2
    image = Image.fromarray(indices)
    image.putpalette([10, 20, 30, 200, 100, 50] + [0] * (3 * (2**bits - 2)))
    image.save(tmp_path / "palette.png", bits=bits)
    colours = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)
    assert read_image(tmp_path / "palette.png").equal(chw(colours[indices]))
    assert np.array_equal(read_indices(tmp_path / "palette.png"), indices)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    from PIL import ImageOps

    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    image.save(path, exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(path)))
    # Two JPEG decoders may differ by a rounding.
    assert (read_image(path).int() - chw(expected).int()).abs().max() <= 2


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0, 0.3, 0.98])
@pytest.mark.parametrize("read", [read_image, read_indices])
def test_truncated_file_is_named(tmp_path, suffix, share, read):
    path = tmp_path / f"broken.{suffix}"
    Image.fromarray(RGB[..., 0]).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        ValueError, match=r"broken\.(png|jpg): (truncated|not a readable) image"
    ) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_thumbnail_does_not_hide_a_truncated_jpeg(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "small.jpg")
    thumbnail = (tmp_path / "small.jpg").read_bytes()
    path = tmp_path / "photo.jpg"
    Image.fromarray(RGB).save(path, exif=b"Exif\0\0" + thumbnail, progressive=True)
    whole = path.read_bytes()
    path.write_bytes(whole + b"trailer \xff\xda of a camera")
    assert read_image(path).shape == (3, 20, 30)
    path.write_bytes(whole[:-40])
    with pytest.raises(ValueError, match=r"photo\.jpg: truncated"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, read_indices])
def test_missing_or_foreign_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png: not a readable image"):
        read(tmp_path / "text.png")


def test_colours_are_no_ids(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"mask\.png: .*colours.*prepare\.py palette"):
        read_indices(tmp_path / "mask.png")


def test_one_bit_label_is_not_stretched_to_void(tmp_path):
    label = RGB[..., 0] > 127
    Image.fromarray(label).save(tmp_path / "binary.png")
    assert np.array_equal(read_indices(tmp_path / "binary.png"), label)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_images_of_12_bits_are_faint_not_scaled(tmp_path, suffix):
    values = np.random.default_rng(0).integers(0, 4096, (6, 8, 3), dtype=np.uint16)
    for name, deep in (("twelve", values), ("full", values * 16), ("fourteen", values * 4)):
        cv2.imwrite(str(tmp_path / f"{name}{suffix}"), deep)
    cv2.imwrite(str(tmp_path / f"dark{suffix}"), (values >> 8).astype(np.uint8))
    faint = {path.stem: is_faint(path, read_image(path)) for path in tmp_path.iterdir()}
    assert faint == {"twelve": True, "full": False, "fourteen": False, "dark": False}
    assert read_image(tmp_path / f"twelve{suffix}").max() <= 16


def test_dark_images_of_8_bits_are_not_faint(tmp_path):
    for suffix in (".jpg", ".bmp", ".webp", ".png"):
        path = saved(tmp_path / f"a{suffix}", Image.new("RGB", (4, 4)))
        assert not is_faint(path, read_image(path))


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint16, (3, 5), elements=st.integers(0, 400)))
def test_map_ids(values):
    label, wrong = map_ids(values, {0: 0, 7: 1, 255: 255})
    assert np.array_equal(wrong, ~np.isin(values, (0, 7, 255)))
    assert (label[values == 7] == 1).all()
    assert (label[values == 255] == 255).all()
    small = values.clip(0, 255).astype(np.uint8)
    for typed in (small.astype(int), small.astype(np.uint16)):
        assert np.array_equal(map_ids(small, {7: 1}), map_ids(typed, {7: 1}))


def test_map_ids_above_255():
    values = np.array([[0, 10000, 20000, 300]], np.uint16)
    label, wrong = map_ids(values, {0: 0, 10000: 1, 20000: 2})
    assert label[0, :3].tolist() == [0, 1, 2]
    assert wrong.tolist() == [[False, False, False, True]]


def test_an_image_of_32_bits_is_not_called_damaged(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif: 32 bits per channel: export it with 8 or 16"):
        read_image(tmp_path / "a.tif")


def test_map_colours():
    palette = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0], [1, 0, 0]], np.uint8)
    which = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    label, wrong = map_colours(chw(palette[which]), {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2})
    assert np.array_equal(wrong, which == 3)
    assert np.array_equal(label[~wrong], which[~wrong])


def saved(path, image, **how):
    image.save(path, **how)
    return path


def test_what_only_opencv_would_read_is_measured_before_it_is_decoded(tmp_path, monkeypatch):
    # A 16-bit TIFF in colours is of a kind that Pillow does not open, and so is a PNG whose head is
    # damaged, which OpenCV gives as many pixels as the damage says.
    picture = np.arange(4 * 6 * 3, dtype=np.uint16).reshape(4, 6, 3) * 256
    cv2.imwrite(str(tmp_path / "deep.tif"), picture)
    assert read_image(tmp_path / "deep.tif").shape == (3, 4, 6)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    data = (tmp_path / "deep.tif").read_bytes()
    at = data.index(struct.pack("<HHI", 256, 3, 1))  # image width: one 16-bit number
    wide = data[: at + 8] + struct.pack("<H", 65535) + data[at + 10 :]
    at = wide.index(struct.pack("<HHI", 257, 3, 1))
    (tmp_path / "bomb.tif").write_bytes(wide[: at + 8] + struct.pack("<H", 65535) + wide[at + 10 :])
    with pytest.raises(ValueError, match="bomb.tif: 65535 x 65535 px are more than"):
        read_image(tmp_path / "bomb.tif")
    path = saved(tmp_path / "bomb.png", Image.new("L", (8, 8)))
    found = bytearray(path.read_bytes())
    found[16:24] = (60_000).to_bytes(4, "big") * 2  # with the checksum of another size
    path.write_bytes(found)
    with pytest.raises(ValueError, match="bomb.png: not a readable image"):
        read_image(path)


def test_a_png_whose_chunks_do_not_lead_to_its_end_is_not_decoded(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("L", (8, 8)))
    data = path.read_bytes()
    at = data.index(b"IDAT")
    path.write_bytes(data[: at - 4] + b"\xf0\x00\x00\x00" + data[at:])  # a chunk of 4 GB
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for read in (read_image, read_indices):
        with pytest.raises(ValueError, match=r"a.png: truncated image"):
            read(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """A header that says 60000 x 60000, as a few bytes can."""
    path = saved(tmp_path / "bomb.png", Image.new("L", (8, 8)))
    data = bytearray(path.read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    for read in (read_image, read_indices):
        with pytest.raises(ValueError, match=r"bomb.png: 60000 x 60000 px are more than"):
            read(path)


def test_the_first_picture_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (6, 4), (shade, 0, 0)) for shade in (10, 200)]
    path = saved(tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:])
    assert read_image(path)[:, 0, 0].tolist() == [10, 0, 0]


def test_cmyk_is_read_as_rgb(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK"))
    red, green, blue = read_image(path)[:, 8, 8].tolist()
    assert red > 150 and green < 90 and blue < 90


def test_an_image_of_one_pixel_is_read(tmp_path):
    path = saved(tmp_path / "a.png", Image.new("L", (1, 1), 2))
    assert read_image(path).shape == (3, 1, 1)
    assert read_indices(path).tolist() == [[2]]


def test_decoders_print_nothing_of_their_own(tmp_path, capfd):
    path = saved(tmp_path / "deep.tif", Image.new("I", (8, 8), 70000))
    with pytest.raises(ValueError, match="deep.tif: 32 bits per channel"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_bytes_are_one_line(kind, tmp_path):
    path = tmp_path / "damaged"
    whole = saved(tmp_path / "whole", Image.effect_noise((24, 16), 64), format=kind).read_bytes()
    for seed in range(150):
        path.write_bytes(damaged_bytes(whole, random.Random(seed)))
        for read in (read_image, read_indices):
            try:
                read(path)
            except ValueError as refused:
                assert str(path) in str(refused) and "\n" not in str(refused)
