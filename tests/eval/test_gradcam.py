"""Class activation maps: by hand from the gradients, and the command."""

import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from command_line.cli import run
from conventions.preprocessing import Preprocessing
from datasets.transforms import normalize
from eval import gradcam as command
from eval.inference import WHOLE, upsample_argmax
from models import build_model

pytest.importorskip("pytorch_grad_cam")

PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def image():
    return torch.randint(256, (3, 64, 90), generator=torch.Generator().manual_seed(0)).byte()


def make_cams(model, *arguments):
    predictor = command.Predictor(model, PREPROCESSING, WHOLE, torch.device("cpu"))
    return command.StageCams(predictor, *arguments)


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_grad_cam_by_hand(tiny_model, image, stage):
    # The norm's own output: what `features` holds is a view that later stages do not read.
    seen = []
    norm = tiny_model.encoder.get_submodule(f"norm{stage}")
    hook = norm.register_forward_hook(lambda *call: seen.append(call[-1]))
    logits = tiny_model(normalize(image[None], PREPROCESSING))
    hook.remove()
    mask = upsample_argmax(logits.detach())[0] == 1
    mask = mask if mask.any() else torch.ones_like(mask)
    gradient = torch.autograd.grad(logits[0, 1][mask].sum(), seen[0])[0][0]
    cam = (gradient.mean((0, 1)) * seen[0][0]).sum(-1).relu().detach().numpy()
    expected = stretched(cv2.resize(stretched(cam), (90, 64)))
    found = make_cams(tiny_model, [stage], "gradcam").maps(image, 1)[stage]
    assert found == pytest.approx(expected, abs=1e-4)


def stretched(values):
    values = values - values.min()
    return values / (1e-7 + values.max())


@pytest.mark.parametrize("method", command.METHODS)
def test_every_method(tiny_model, image, method):
    check_maps(make_cams(tiny_model, [2], method).maps(image, 2), [2])


def test_pvt(image):
    model = build_model("PVTv2B0", 3).eval()
    check_maps(make_cams(model, [1, 4], "gradcam").maps(image, 2), [1, 4])


def check_maps(maps, stages):
    assert list(maps) == stages
    for values in maps.values():
        assert values.shape == (64, 90) and np.isfinite(values).all()
        assert values.min() >= 0 and values.max() <= 1


@pytest.fixture
def start(monkeypatch, capsys, write_checkpoint, tmp_path):
    def call(*arguments):
        words = ["--state", write_checkpoint()[0], "--output", tmp_path / "out", *arguments]
        monkeypatch.setattr(sys, "argv", ["gradcam.py", *map(str, words), "--cpu"])
        with pytest.raises(SystemExit) as end:
            run(command.main)
        return end.value.code, capsys.readouterr().err

    return call


def test_command(start, image, tmp_path):
    photos = tmp_path / "photos"
    (photos / "row").mkdir(parents=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(photos / "row" / "a.png")
    (photos / "empty.png").touch()
    status, told = start("--input", photos, "--class", "weed", "--stage", "1", "3")
    assert status == 1 and "empty.png" in told and told.count("\n") == 1
    written = tmp_path / "out" / "row" / "a_weed_stage1-3.png"
    assert list((tmp_path / "out").rglob("*.png")) == [written]
    picture = Image.open(written)
    assert picture.width > 3 * 90 and picture.mode == "RGB"
    status, told = start("--input", photos, "--class", "tree")
    assert status == 2 and "soil, crop, weed" in told


def test_results_are_replaced_only_when_asked(start, image, tmp_path):
    photo = tmp_path / "photos" / "a.png"
    photo.parent.mkdir()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(photo)
    flags = ["--input", photo, "--class", "weed", "--stage", "4"]
    assert start(*flags) == (0, "")
    written = tmp_path / "out" / "a_weed_stage4.png"
    written.write_bytes(b"earlier")
    status, told = start(*flags)
    assert status == 2 and str(written) in told and "--overwrite" in told and told.count("\n") == 1
    assert written.read_bytes() == b"earlier"
    assert start("--input", photo, "--class", "crop", "--stage", "4")[0] == 0  # another file
    assert start(*flags, "--overwrite") == (0, "")
    assert Image.open(written).size
