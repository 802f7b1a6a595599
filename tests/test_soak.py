"""The short form of `make soak`."""

import json
import sys

import pytest

from tests.train.test_commands import ROOT, execute

SHORT = ("--kills", "1", "--signals", "1", "--dead-workers", "1", "--full-disks", "1")


@pytest.mark.slow
def test_runs_outlive_faults_and_readers_damage(tmp_path):
    counts = tmp_path / "counts.json"
    words = [*SHORT, "--inputs", "35", "--json", str(counts)]
    execute([sys.executable, "-m", "tests.soak", *words], ROOT)
    found = json.loads(counts.read_text())
    assert all(found[trial]["bit for bit"] for trial in ("kills", "signals", "full_disks"))
    assert found["dead_workers"]["one line, status 1"] == 1
    assert found["inputs"]["refused in one line"] > 0
