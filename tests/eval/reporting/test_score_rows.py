"""What tables of runs say."""

from statistics import stdev

from eval.reporting.score_rows import seed_rows, table_rows


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
