"""Small exports of labelling tools, and what becomes of them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import cli
from datasets import build_dataset
from datasets.prepare import main

SIZE = (24, 32)  # height, width
NAMES = list("abcdefghij")


@pytest.fixture
def export(tmp_path):
    """An empty folder for what a labelling tool wrote."""
    folder = tmp_path / "export"
    folder.mkdir()
    return folder


@pytest.fixture
def photographs():
    """`photographs(folder, names, suffix)`: write noise images; return their paths."""

    def write(folder: Path, names=NAMES, suffix=".jpg", size=SIZE) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(0)
        paths = [folder / f"{name}{suffix}" for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        return paths

    return write


@pytest.fixture
def masks():
    """`masks(folder, {stem: values})`: write PNGs."""

    def write(folder: Path, values: dict[str, np.ndarray]) -> None:
        for stem, mask in values.items():
            path = folder / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8)).save(path)

    return write


@pytest.fixture
def write_json():
    def write(path: Path, content) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def bring(export, tmp_path):
    """`bring(*flags)`: import the export; return its data sets by split."""

    def run(*flags, source=export):
        output = tmp_path / "imported"
        argv = ["import", "--input", source, "--output", output, *flags]
        assert main([str(word) for word in argv]) == 0
        lists = sorted((output / "ImageSets" / "Segmentation").glob("*.txt"))
        return {path.stem: build_dataset("VOC", output, path.stem) for path in lists}

    return run


@pytest.fixture
def labels_of():
    """`labels_of(data)`: the labels of all splits by name, int arrays (H, W)."""

    def read(data) -> dict[str, np.ndarray]:
        return {
            sample["name"]: sample["label"].numpy()
            for dataset in data.values()
            for sample in dataset
        }

    return read


@pytest.fixture
def refuses(export, tmp_path, capsys, monkeypatch):
    """`refuses(*flags)`: an import that must fail with one line and leave nothing; the line."""

    def run(*flags, source=export) -> str:
        before = sorted(tmp_path.iterdir())
        monkeypatch.setattr(sys, "argv", ["datasets/prepare.py"])
        argv = ["import", "--input", source, "--output", tmp_path / "imported", *flags]
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: main([str(word) for word in argv]))
        assert ended.value.code == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("prepare.py: error: ")
        assert sorted(tmp_path.iterdir()) == before
        return told

    return run
