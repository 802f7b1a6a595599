"""The example of CONTRIBUTING.md is followed to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTION = "Adding a distillation method"
COPIED = (
    "command_line",
    "conventions",
    "losses",
    "models",
    "tests/losses",
    "tests/conftest.py",
    "pyproject.toml",
)


def code_blocks(section: str) -> dict[str, str]:
    """The Python blocks of a section, by the comment on their first line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    body = re.split(r"^## ", text.split(f"## {section}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^```python\n# (.+)\n((?:.*\n)*?)```", body, flags=re.MULTILINE))


def copy_project(target: Path) -> None:
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, target / name)


def test_adding_a_method_as_described(tmp_path):
    copy_project(tmp_path)
    blocks = code_blocks(SECTION)
    methods = tmp_path / "losses/methods.py"
    head, entries = methods.read_text().split("METHODS: dict[str, Method] = {\n")
    entry = blocks.pop("losses/methods.py, in METHODS")
    assert entry.count("\n") == 1, "a method is one line in METHODS"
    imports, declarations = head.split("from losses.", 1)
    methods.write_text(
        f"{imports}{blocks.pop('losses/methods.py, with the imports')}from losses.{declarations}"
        f"METHODS: dict[str, Method] = {{\n{entry}{entries}"
    )
    assert sorted(blocks) == ["losses/smooth_l1.py", "tests/losses/test_smooth_l1.py"]
    for path, content in blocks.items():
        (tmp_path / path).write_text(content)

    tests = ["tests/losses/test_smooth_l1.py", "tests/losses/test_methods.py"]
    options = ["-q", "-k", "smooth", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *tests, *options],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) > 5
