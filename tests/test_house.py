"""The layout keeps what the house rules promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "benchmarks",
    "command_line",
    "conventions",
    "datasets",
    "eval",
    "losses",
    "models",
    "train",
)


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_shadows_a_standard_module(room):
    names = {path.stem for path in (ROOT / room).rglob("*.py")} - {"__init__"}
    assert names, f"{room}/ has no files"
    assert not names & sys.stdlib_module_names


def test_libraries_work_with_our_datasets_folder_first_on_the_path():
    """The package that our `datasets/` hides is optional to all of them."""
    code = """
import accelerate, timm, torch, torchmetrics, transformers
import datasets
config = transformers.SegformerConfig(
    depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1] * 4, decoder_hidden_size=8
)
model = transformers.SegformerForSemanticSegmentation(config)
model = accelerate.Accelerator(cpu=True).prepare(model)
assert model(torch.rand(1, 3, 32, 32)).logits.shape == (1, 2, 8, 8)
metric, label = torchmetrics.JaccardIndex("multiclass", num_classes=2), torch.tensor([0, 1])
assert metric(label, label) == 1
print(datasets.__file__)
"""
    run = [sys.executable, "-c", code]
    result = subprocess.run(
        run, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).parent == ROOT / "datasets"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_exact(name):
    lines = [line.partition(" #")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith(("#", "-r "))]
    assert pins
    loose = [
        line
        for line in pins
        if not re.match(r"[\w-]+==[\w.]+(; python_version [<>=]+ \"[\d.]+\")?$", line)
    ]
    assert not loose
