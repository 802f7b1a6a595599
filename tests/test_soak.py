"""The short form of `make soak`."""

import json
import sys

import pytest

from tests.train.test_commands import ROOT, execute

FAULTS = ("kills", "signals", "dead-workers", "full-disks", "two-process")


@pytest.mark.slow
def test_runs_outlive_faults_and_readers_damage(tmp_path):
    counts = tmp_path / "counts.json"
    words = [word for fault in FAULTS for word in (f"--{fault}", "1")]
    words += ["--inputs", "100", "--json", str(counts)]
    execute([sys.executable, "-m", "tests.soak", *words], ROOT)
    found = json.loads(counts.read_text())
    assert all(found[fault.replace("-", "_")]["bit for bit"] == 1 for fault in FAULTS)
    assert found["dead_workers"]["one line, status 1"] == 1
    assert all(found["two_process"][f"resumed with {n}"] == 1 for n in (1, 2, 4))
    assert found["inputs"]["refused in one line"] > 0
