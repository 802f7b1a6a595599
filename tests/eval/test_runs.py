"""What a comparison says about its runs; the scores themselves are those of eval.py."""

from types import SimpleNamespace

import pytest

from conventions.preprocessing import Preprocessing
from eval.runs import check_comparable, kind_of, tell_kinds_apart


def subject(method=None, pairs=("a",), protocol="standard", **args):
    info = {"method": method, "args": args, "architecture": "SegformerB0"}
    dataset = SimpleNamespace(name="CWFID", split="test", pairs=list(pairs))
    preprocessing = Preprocessing(protocol=protocol)
    return SimpleNamespace(info=info, dataset=dataset, preprocessing=preprocessing)


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


def test_runs_on_other_images_or_under_another_protocol_are_refused():
    check_comparable("b", subject(), subject())
    with pytest.raises(ValueError, match="b would be scored on other images"):
        check_comparable("b", subject(pairs="ab"), subject())
    with pytest.raises(ValueError, match="b would be scored by the protocol paper.*--protocol"):
        check_comparable("b", subject(protocol="paper"), subject())


def test_only_repetitions_share_a_kind():
    flags = {"stage": "student", "lr": 1e-3, "max_steps": None, "flip": True}
    differing = [
        {"seed": 0}, {"seed": 1, "savedir": "b"}, {"lr": 6e-4}, {"max_steps": 9, "flip": False},
    ]  # fmt: skip
    runs = [
        SimpleNamespace(subject=subject(**flags | own), result={"kind": "student B0"})
        for own in differing
    ]
    runs.append(SimpleNamespace(subject=subject(stage="teacher"), result={"kind": "teacher B0"}))
    tell_kinds_apart(runs)
    assert [run.result["kind"] for run in runs] == [
        "student B0, --lr 0.001, no --max-steps, --flip",
        "student B0, --lr 0.001, no --max-steps, --flip",
        "student B0, --lr 0.0006, no --max-steps, --flip",
        "student B0, --lr 0.001, --max-steps 9, --no-flip",
        "teacher B0",
    ]


def test_data_tell_runs_of_one_seed_apart():
    runs = [
        SimpleNamespace(subject=subject(seed=0, datadir=place), result={"kind": "student B0"})
        for place in ("a", "b")
    ]
    tell_kinds_apart(runs)
    assert [run.result["kind"] for run in runs] == [
        "student B0, --datadir a", "student B0, --datadir b"
    ]  # fmt: skip


def test_teachers_tell_runs_of_one_seed_apart():
    def kinds(*runs):
        runs = [SimpleNamespace(subject=subject(**run), result={"kind": "KD B0"}) for run in runs]
        tell_kinds_apart(runs)
        return [run.result["kind"] for run in runs]

    assert kinds({"seed": 0, "teacher": "b3"}, {"seed": 1, "teacher": "b5"}) == ["KD B0"] * 2
    same_seed = kinds({"seed": 0, "teacher": "b3"}, {"seed": 0, "teacher": "b5"})
    assert same_seed == ["KD B0, --teacher b3", "KD B0, --teacher b5"]
    older_release = kinds({"seed": 0}, {"seed": 1, "amp": "auto"})
    assert older_release == ["KD B0"] * 2
