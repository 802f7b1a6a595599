"""The examples of CONTRIBUTING.md are followed to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("command_line", "conventions", "models", "tests/conftest.py", "pyproject.toml")


def code_blocks(section: str) -> dict[str, str]:
    """The Python blocks of a section, by the comment on their first line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    body = re.split(r"^## ", text.split(f"## {section}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^```python\n# (.+)\n((?:.*\n)*?)```", body, flags=re.MULTILINE))


@pytest.fixture
def project(tmp_path):
    """Copies parts of the project: `project("losses")` returns where they are."""

    def copy_parts(*more: str) -> Path:
        for name in (*COPIED, *more):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / name)
        return tmp_path

    return copy_parts


def follow(root: Path, section: str, registry: str, dictionary: str) -> list[str]:
    """Do what a section says; return the new files that it has."""
    blocks = code_blocks(section)
    package = Path(registry).parts[0]
    entry = blocks.pop(f"{registry}, in {dictionary.split(':')[0]}")
    assert entry.count("\n") == 1, "what is added is one line"
    head, entries = (root / registry).read_text().split(f"{dictionary}\n")
    imports, declarations = head.split(f"from {package}.", 1)
    (root / registry).write_text(
        f"{imports}{blocks.pop(f'{registry}, with the imports')}from {package}.{declarations}"
        f"{dictionary}\n{entry}{entries}"
    )
    for path, content in blocks.items():
        (root / path).write_text(content)
    return sorted(blocks)


def run_tests(root: Path, *arguments: str) -> int:
    """Run tests in the copy, all of which must pass; return how many there were."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=root,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return int(re.search(r"(\d+) passed", result.stdout)[1])


def test_adding_a_method_as_described(project):
    root = project("losses", "tests/losses")
    section = "Adding a distillation method"
    files = follow(root, section, "losses/methods.py", "METHODS: dict[str, Method] = {")
    assert files == ["losses/smooth_l1.py", "tests/losses/test_smooth_l1.py"]
    tests = ["tests/losses/test_smooth_l1.py", "tests/losses/test_methods.py"]
    assert run_tests(root, *tests, "-k", "smooth") > 5


def test_adding_a_network_family_as_described(project):
    root = project("tests/models")
    section = "Adding a network family"
    files = follow(root, section, "models/registry.py", "FAMILIES: tuple[Family, ...] = (")
    assert files == ["models/poolformer.py", "tests/models/test_poolformer.py"]
    tests = ["tests/models/test_poolformer.py", "tests/models/test_families.py"]
    assert run_tests(root, *tests, "-k", "poolformer or PoolFormer") > 10
    (root / "encoder.py").write_text(BARE_ENCODER)
    subprocess.run([sys.executable, "encoder.py"], cwd=root, check=True)


def test_adding_a_data_set_as_described(project):
    root = project("datasets", "tests/datasets")
    registry = "DATASETS: dict[str, type[SegmentationDataset]] = {"
    files = follow(root, "Adding a data set", "datasets/registry.py", registry)
    assert files == ["datasets/loveda.py", "tests/datasets/test_loveda.py"]
    tests = [f"tests/datasets/test_{name}.py" for name in ("loveda", "registry", "palettes")]
    assert run_tests(root, *tests, "-k", "loveda or LoveDA") == 4


BARE_ENCODER = """
import torch
from models import build_model, load_backbone

models = [build_model("PoolFormerS12", 3, depths=(1, 1, 1, 1)) for _ in range(2)]
torch.save(models[0].encoder.state_dict(), "bare.pth")
assert load_backbone(models[1], "bare.pth")["format"] == "poolformer-encoder"
for key, value in models[0].encoder.state_dict().items():
    assert torch.equal(models[1].encoder.state_dict()[key], value), key
"""
