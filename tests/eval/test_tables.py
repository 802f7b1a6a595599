"""The published tables: every figure that must agree does."""

import csv
import io
import json
import sys

import pytest

from eval import tables
from eval.published.rows import ROWS


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tables.py", *map(str, arguments)])
        status = tables.main()
        return status, capsys.readouterr()

    return run


@pytest.mark.slow
def test_check_passes_and_every_row_is_printed(call, tmp_path):
    status, printed = call("--check", "--format", "csv", "--results", tmp_path)
    assert status == 0 and printed.err == ""
    header, *lines = csv.reader(io.StringIO(printed.out))
    assert len(lines) == len(ROWS) == 25
    agrees = header.index("agrees")
    unlike = [line for line in lines if line[agrees] != "yes"]
    assert {line[agrees] for line in unlike} == {"not reproducible"}
    assert {(line[1], line[3]) for line in unlike} == {
        ("Cityscapes (20)", "3.23"),
        ("Cityscapes (20)", "5.21"),
    }
    assert all(line[-1] == "-" for line in lines)
    # Attention and interpolation included, 17.8 G in fact.
    b0 = next(line for line in lines if line[2] == "student B0")
    assert b0[header.index("true G")] == "17.84"


def test_check_fails_on_a_wrong_figure(call, monkeypatch, tmp_path):
    from dataclasses import replace

    row = next(row for row in ROWS if row.label == "student B0")
    monkeypatch.setattr(tables, "ROWS", (row, replace(row, flops="13.68")))
    assert call("--results", tmp_path)[0] == 0, "without --check the table is only printed"
    status, printed = call("--check", "--results", tmp_path)
    assert status == 1
    assert printed.err == "disagrees: TransKD, Cityscapes, student B0\n"
    assert "NO" in printed.out


def test_recorded_scores_stand_beside_the_published_ones(call, monkeypatch, tmp_path):
    row = next(row for row in ROWS if row.dataset == "SugarBeets" and row.method == "sekd-ct")
    monkeypatch.setattr(tables, "ROWS", (row,))
    result = {"dataset": "SugarBeets", "model": "SegformerB0", "method": "sekd-ct"}
    for name, miou, protocol in (
        ("a", 0.80, "paper"),
        ("b", 0.82, "paper"),
        ("c", 0.5, "standard"),
    ):
        text = json.dumps(result | {"miou": miou, "protocol": protocol})
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "speed.json").write_text('{"device": "another kind of result"}')
    _, printed = call("--format", "markdown", "--results", tmp_path)
    assert "| 81.00 (paper, 2 runs) |" in printed.out


def test_a_broken_result_is_named(call, tmp_path):
    (tmp_path / "half.json").write_text('{"miou": 0.')
    with pytest.raises(ValueError, match=r"half.json: not a JSON file"):
        call("--results", tmp_path)
