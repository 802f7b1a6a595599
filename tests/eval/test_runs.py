"""What a comparison says about its runs; the scores themselves are those of eval.py."""

from types import SimpleNamespace

import pytest

from eval.runs import check_same_images, label_of, table_rows


def subject(method=None, pairs=("a",), **args):
    info = {"method": method, "args": args, "architecture": "SegformerB0"}
    dataset = SimpleNamespace(name="CWFID", split="test", pairs=list(pairs))
    return SimpleNamespace(info=info, dataset=dataset)


@pytest.mark.parametrize(
    ("run", "label"),
    [
        (subject(stage="teacher"), "teacher SegformerB0"),
        (subject(stage="student"), "student SegformerB0"),
        (subject("none", stage="sekd"), "student SegformerB0"),
        (subject("sekd-ct", stage="sekd"), "SEKD-CT SegformerB0"),
        (subject(), "network SegformerB0"),
    ],
)
def test_a_run_is_called_what_it_is(run, label):
    assert label_of(run) == label


def result(name, miou):
    cost = {"params": {"deployed": 3_720_000}, "flops": {"deployed": 1.5e9}}
    return {"name": name, "miou": miou, "per_class": {"soil": 0.9, "weed": None}, **cost}


def test_rows_tell_the_gain_over_the_student():
    rows = table_rows([result("student SegformerB0", 0.5), result("SEKD SegformerB0", 0.525)])
    assert rows[1] == {
        "run": "SEKD SegformerB0", "M params": "3.72", "G MACs": "1.50", "mIoU": "52.50",
        "vs student": "+2.50", "soil": "90.00", "weed": "absent",
    }  # fmt: skip
    assert "vs student" not in table_rows([result("teacher SegformerB3", 0.5)])[0]


def test_runs_on_other_images_are_refused():
    check_same_images("b", subject(), subject())
    with pytest.raises(ValueError, match="b would be scored on other images"):
        check_same_images("b", subject(pairs="ab"), subject())
