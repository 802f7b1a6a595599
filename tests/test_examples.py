"""The programs of examples/, built and run as a reader would, beside what predict.py writes."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from eval import export, predict
from models import save_checkpoint

ROOT = Path(__file__).parents[1]
CLASSES = ["soil", "crop", "weed"]


@pytest.fixture
def field(build_tiny, tmp_path):
    """`field(image_size)`: a checkpoint, and a smooth photograph beside it."""

    def field(image_size):
        own = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1], "image_size": image_size}
        save_checkpoint(
            tmp_path / "best.pth", build_tiny().eval(),
            {"classes": CLASSES, "preprocessing": own | {"protocol": "standard"}},
        )  # fmt: skip
        noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((120, 80), Image.Resampling.BICUBIC)
        image.save(tmp_path / "photo.png")
        image.save(tmp_path / "photo.ppm")
        return tmp_path

    return field


def run_command(monkeypatch, command, *words):
    monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, words)])
    command.main()


def expected(monkeypatch, folder):
    words = ["--input", folder / "photo.png", "--output", folder / "out", "--cpu", "--overwrite"]
    run_command(monkeypatch, predict, "--state", folder / "best.pth", *words)
    return np.asarray(Image.open(folder / "out" / "labels" / "photo.png"))


@pytest.mark.parametrize("size", [None, 64, [48, 96]])
@pytest.mark.parametrize("inside", [[], ["--with-preprocessing", "--with-argmax"]])
def test_python(field, monkeypatch, size, inside):
    folder = field(size)
    run_command(
        monkeypatch, export, "--state", folder / "best.pth", "--format", "onnx", *inside
    )  # fmt: skip
    words = [folder / "best.onnx", folder / "photo.png", folder / "labels.png"]
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "segment.py", *words],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    labels = cv2.imread(str(folder / "labels.png"), cv2.IMREAD_UNCHANGED)
    assert (labels == expected(monkeypatch, folder)).mean() > (0.999 if size is None else 0.97)
    shares = [line.partition(": ") for line in done.stdout.splitlines()]
    assert [name for name, _, _ in shares] == CLASSES
    assert float(shares[1][2].split()[0]) == pytest.approx(100 * (labels == 1).mean(), abs=0.01)


def test_cpp(field, monkeypatch, tmp_path_factory):
    utils = pytest.importorskip("openvino.utils")
    if not shutil.which("cmake") or not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs cmake and a C++ compiler")
    build = tmp_path_factory.mktemp("build")
    package = f"-DOpenVINO_DIR={utils.get_cmake_path()}"
    for step in (["-S", ROOT / "examples", "-B", build, package], ["--build", build]):
        done = subprocess.run(["cmake", *step], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for size in (None, 64, [48, 96]):
        folder = field(size)
        run_command(
            monkeypatch, export, "--state", folder / "best.pth", "--format", "openvino"
        )  # fmt: skip
        target = folder / "labels.pgm"
        words = [build / "segment", folder / "best.xml", folder / "photo.ppm", target]
        subprocess.run(words, check=True)
        labels = np.asarray(Image.open(target))
        # OpenVINO computes in bfloat16 where the processor does.
        assert (labels == expected(monkeypatch, folder)).mean() > 0.97
    words[2] = folder / "photo.png"
    assert "not a binary PPM" in subprocess.run(words, capture_output=True, text=True).stderr
