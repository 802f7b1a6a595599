"""`predict.py --state fields` on photographs as cameras and phones write them."""

import csv
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from command_line.cli import run
from eval import predict as command
from models import build_model, shipped

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}
ORIENTATION = 0x0112


@pytest.fixture
def predict(tmp_path, monkeypatch, capsys):
    """Run predict.py with a tiny stand-in for the shipped weights; status and stderr."""
    torch.manual_seed(0)
    info = {
        "classes": ["soil", "crop", "weed"],
        "palette": [[0, 0, 0], [0, 255, 0], [255, 0, 0]],
        "preprocessing": {"mean": [0.5] * 3, "std": [0.25] * 3, "image_size": 64},
    }
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "ckpt")
    (tmp_path / "ckpt").mkdir()
    network = build_model("SegformerB0", 3, **TINY)
    shipped.save_shipped(tmp_path / "ckpt" / "fields_b0.safetensors", network, info)

    def call():
        words = ["--state", "fields", "--cpu", "--input", tmp_path / "photos"]
        words += ["--output", tmp_path / "out"]
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            run(command.main)
        return end.value.code, capsys.readouterr().err

    return call


@pytest.fixture
def photos(tmp_path):
    """A photograph, coarse blocks of colour, and a folder to write it into."""
    (tmp_path / "photos").mkdir()
    blocks = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return tmp_path / "photos", blocks.repeat(40, 0).repeat(40, 1)


def label_of(tmp_path, name):
    return np.array(Image.open(tmp_path / "out" / "labels" / f"{name}.png"))


def test_grey_and_16_bits_are_segmented_as_their_8_bit_colours(predict, photos, tmp_path):
    folder, image = photos
    grey = image[..., 1]
    cv2.imwrite(str(folder / "colours.png"), np.dstack([grey] * 3))
    cv2.imwrite(str(folder / "grey.png"), grey)
    cv2.imwrite(str(folder / "deep.png"), grey.astype(np.uint16) * 256)
    assert predict() == (0, "")
    wanted = label_of(tmp_path, "colours")
    assert len(np.unique(wanted)) > 1
    assert np.array_equal(label_of(tmp_path, "grey"), wanted)
    assert np.array_equal(label_of(tmp_path, "deep"), wanted)


def test_a_turned_portrait_is_segmented_upright(predict, photos, tmp_path):
    folder, image = photos
    upright = Image.fromarray(image).rotate(90, expand=True)  # portrait
    upright.save(folder / "upright.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the viewer turns it clockwise
    upright.rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    assert predict() == (0, "")
    wanted = label_of(tmp_path, "upright")
    assert wanted.shape == (160, 120)
    assert np.array_equal(label_of(tmp_path, "turned"), wanted)


def test_20_megapixels_and_a_damaged_file(predict, photos, tmp_path):
    folder, image = photos
    large = cv2.resize(image, (5184, 3888), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(folder / "large.jpg"), large)
    (folder / "broken.jpg").write_bytes((folder / "large.jpg").read_bytes()[:5000])
    status, said = predict()
    assert status == 1
    lines = [line for line in said.splitlines() if not line.startswith("predict: ")]  # progress
    assert len(lines) == 1 and "broken.jpg" in lines[0]
    assert label_of(tmp_path, "large").shape == (3888, 5184)
    with open(tmp_path / "out" / "cover.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["large"]
    shares = [float(rows[0][f"{name} %"]) for name in ("soil", "crop", "weed")]
    assert sum(shares) == pytest.approx(100, abs=0.01)
