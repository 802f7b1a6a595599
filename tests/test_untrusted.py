"""Files of strangers run no code, and write nothing on a terminal but what is meant."""

import ast
import pickle
from pathlib import Path

import pytest
import torch

from command_line.cli import run
from datasets.base import check_classes
from models import load_checkpoint, save_checkpoint

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
            assert name not in ("os.system", "yaml.unsafe_load", "yaml.full_load"), path
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
