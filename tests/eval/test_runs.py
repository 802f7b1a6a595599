"""What a comparison says about its runs; the scores themselves are those of eval.py."""

from types import SimpleNamespace

import pytest

from eval.runs import check_same_images, kind_of


def subject(method=None, pairs=("a",), **args):
    info = {"method": method, "args": args, "architecture": "SegformerB0"}
    dataset = SimpleNamespace(name="CWFID", split="test", pairs=list(pairs))
    return SimpleNamespace(info=info, dataset=dataset)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (subject(stage="teacher"), "teacher SegformerB0"),
        (subject(stage="student"), "student SegformerB0"),
        (subject("none", stage="sekd"), "student SegformerB0"),
        (subject("sekd-ct", stage="sekd"), "SEKD-CT SegformerB0"),
        (subject(), "network SegformerB0"),
    ],
)
def test_a_run_is_called_what_it_is(run, kind):
    assert kind_of(run) == kind


def test_runs_on_other_images_are_refused():
    check_same_images("b", subject(), subject())
    with pytest.raises(ValueError, match="b would be scored on other images"):
        check_same_images("b", subject(pairs="ab"), subject())
