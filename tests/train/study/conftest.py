"""Recipes of studies."""

import json
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def recipe(tmp_path):
    """A function that writes a recipe; keywords replace or add settings."""

    def write(runs, **settings) -> Path:
        path = tmp_path / "study.yaml"
        savedir = str(tmp_path / "runs")
        written = {"savedir": savedir, "runs": runs, **settings}
        # What is in it twice becomes two: PyYAML would write an alias, which recipes may not have.
        path.write_text(yaml.safe_dump(json.loads(json.dumps(written)), sort_keys=False))
        return path

    return write
