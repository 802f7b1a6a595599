"""What tables of runs say."""

import io
from statistics import stdev

import pytest
from rich.console import Console

from eval.reporting.score_rows import print_tables, seed_rows, table_rows


def result(name, miou):
    cost = {"params": {"deployed": 3_720_000}, "flops": {"deployed": 1.5e9}}
    kind, ious = name.partition(" (")[0], {"soil": 0.9, "weed": None}
    return {"name": name, "kind": kind, "miou": miou, "per_class": ious, **cost}


def test_rows_tell_the_gain_over_the_student():
    rows = table_rows([result("student SegformerB0", 0.5), result("SEKD SegformerB0", 0.525)])
    assert rows[1] == {
        "run": "SEKD SegformerB0", "M params": "3.72", "G MACs": "1.50", "mIoU": "52.50",
        "vs student": "+2.50", "soil": "90.00", "weed": "absent",
    }  # fmt: skip
    assert "vs student" not in table_rows([result("teacher SegformerB3", 0.5)])[0]


def test_seeds_are_summed_up():
    mious = {"student B0": 0.5, "student B0 (b)": 0.54, "teacher B3": 0.6, "student B0 (c)": 0.58}
    rows = seed_rows([result(*each) for each in mious.items()])
    assert [row["run"] for row in rows] == ["student B0", "teacher B3"]
    assert rows[0]["runs"] == "3" and rows[0]["vs student"] == "+0.00"
    assert rows[0]["mIoU"] == f"54.00 ± {100 * stdev([0.5, 0.54, 0.58]):.2f}"
    assert rows[0]["soil"] == "90.00 ± 0.00" and rows[0]["weed"] == "absent"
    assert (
        rows[1]["runs"] == "1" and rows[1]["mIoU"] == "60.00" and rows[1]["vs student"] == "+6.00"
    )


def test_runs_of_different_kinds_have_no_spread():
    assert seed_rows([result("student B0", 0.5), result("student B1", 0.5)]) == []


@pytest.mark.parametrize("runs", [1, 3, 9])
def test_figures_are_never_cut(runs):
    """Eleven classes and long names of runs at 80 columns."""
    results = [
        result(f"SEKD-CT SegformerB0 (runs/a-long-name-of-a-folder-{place})", 0.5 + place / 100)
        | {"per_class": {f"class number {index}": index / 12 for index in range(11)}}
        for place in range(runs)
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    print_tables(table_rows(results), console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    shown = [cell.strip() for line in lines for cell in line.split("│")]
    for place in range(runs):
        assert f"{50 + place:.2f}" in shown
    assert shown.count("25.00") == runs  # class 3 of each run
    assert "class number 10" in shown
