"""Files of strangers run no code, and write nothing on a terminal but what is meant."""

import ast
import pickle
import sys
from pathlib import Path

import pytest
import torch

from command_line.cli import run
from datasets import build_dataset
from datasets.base import check_classes
from eval import report
from eval.photographs.sources import find_sources
from models import load_checkpoint, save_checkpoint
from tests.train.conftest import write_voc

ROOT = Path(__file__).parents[1]
ROOMS = ("command_line", "conventions", "models", "datasets", "losses", "eval", "train")
SOURCES = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def calls(path):
    """Each call in a file: its dotted name, and its keywords as source."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            named = {word.arg: ast.unparse(word.value) for word in node.keywords}
            yield ast.unparse(node.func), named


def test_nothing_is_unpickled():
    loads = 0
    for path in SOURCES:
        for name, named in calls(path):
            assert name not in ("eval", "exec", "pickle.load", "pickle.loads"), path
            assert name != "os.system" and named.get("shell", "False") == "False", path
            if name.startswith("yaml."):  # all else goes through `read_yaml`
                assert name == "yaml.safe_dump" or path.name == "documents.py", path
            assert named.get("allow_pickle", "False") == "False", path
            if name == "torch.load":
                loads += 1
                assert named.get("weights_only") == "True", path
    assert loads >= 3


class Attack:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", [torch.save, lambda it, path: path.write_bytes(pickle.dumps(it))])
def test_a_pickle_that_runs_code_is_refused(save, tmp_path):
    save({"model": Attack(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="evil.pth"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_class_names_cannot_move_the_cursor(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="cannot be printed"):
        check_classes(["soil", "\x1b[2Jcrop"])
    save_checkpoint(tmp_path / "a.pth", tiny_model, {"classes": ["soil", "crop", "\x1b[2J"]})
    with pytest.raises(ValueError, match=r"a.pth: damaged.*classes.*cannot be printed"):
        load_checkpoint(tmp_path / "a.pth")


def test_an_error_quotes_no_escape_sequence(capsys):
    def main():
        raise ValueError("a\x1b[31m.png: no such file")

    with pytest.raises(SystemExit):
        run(main)
    assert capsys.readouterr().err.endswith("a?[31m.png: no such file\n")


def test_a_list_cannot_name_images_of_another_folder(tmp_path):
    data = write_voc(tmp_path / "data", train=2, val=1)
    for kind, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (data / kind / f"field00{suffix}").rename(data / f"secret{suffix}")
    (data / "ImageSets" / "Segmentation" / "train.txt").write_text("../secret\nfield01\n")
    with pytest.raises(FileNotFoundError, match=r"secret\.jpg: no such image"):
        build_dataset("VOC", data, "train", classes=("soil", "crop", "weed"))


def test_predictions_are_written_below_their_folder(tmp_path):
    write_voc(tmp_path / "a", train=1, val=0)
    write_voc(tmp_path / "b", train=1, val=0)
    inputs = [str(tmp_path / "b" / ".." / "a" / "JPEGImages"), str(tmp_path / "b" / "JPEGImages")]
    names = [source.name for source in find_sources(inputs, tmp_path / "output")]
    assert names == ["a/JPEGImages/field00", "b/JPEGImages/field00"]


def test_a_page_shows_names_as_they_are(tiny_model, tmp_path, monkeypatch):
    data = write_voc(tmp_path / "<u>data", train=1, val=1)
    for path in data.rglob("field01.*"):
        path.rename(path.with_name(f"<s>{path.name}"))
    (data / "ImageSets" / "Segmentation" / "val.txt").write_text("<s>field01\n")
    run_folder = tmp_path / "<i>run"
    run_folder.mkdir()
    classes = ["soil", "<b>crop", "<script>weed"]
    save_checkpoint(
        run_folder / "best.pth",
        tiny_model,
        {"classes": classes, "dataset": "VOC", "args": {"stage": "student", "teacher": "<q>"}},
    )
    words = [str(run_folder), "--datadir", str(data), "--cpu", "--num-workers", "0"]
    page = tmp_path / "page.html"
    monkeypatch.setattr(sys, "argv", ["report.py", *words, "--output", str(page)])
    report.main()
    text = page.read_text()
    for name in ("u>data", "s>field01", "i>run", "b>crop", "script>weed", "q>"):
        assert f"&lt;{name.replace('>', '&gt;')}" in text, name
        assert f"<{name}" not in text
