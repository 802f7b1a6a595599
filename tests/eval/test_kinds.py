"""What runs are called, and which of them are repetitions."""

import json
from types import SimpleNamespace

import pytest
import yaml

from eval.kinds import Kind, tell_kinds_apart


def subject(method=None, **args):
    info = {"method": method, "args": args, "architecture": "SegformerB0"}
    return SimpleNamespace(info=info)


def kinds(*runs, states=()):
    """Kinds of distilled runs of these flags, each in its own folder or in `states`."""
    states = states or [f"run{number}" for number in range(len(runs))]
    scored = [Kind("KD B0", str(state), flags) for state, flags in zip(states, runs, strict=True)]
    tell_kinds_apart(scored)
    return [each.name for each in scored]


@pytest.fixture
def teacher_of(tmp_path):
    """`teacher_of(name, model)`: the file of a teacher, which is gone, in its run folder."""

    def make(name, model):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "args.yaml").write_text(yaml.safe_dump({"stage": "teacher", "model": model}))
        return str(folder / "last.pth")

    return make


@pytest.fixture
def folder_of(tmp_path):
    """`folder_of(name, digest)`: a run folder whose results.json has the digest of its data."""

    def make(name, digest):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({"data_sha256": digest}))
        return folder

    return make


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
    assert Kind.of(run, "run").name == kind


def test_only_repetitions_share_a_kind():
    flags = {"stage": "student", "lr": 1e-3, "max_steps": None, "flip": True}
    differing = [
        {"seed": 0}, {"seed": 1, "savedir": "b"}, {"lr": 6e-4}, {"max_steps": 9, "flip": False},
    ]  # fmt: skip
    runs = [Kind("student B0", "", flags | own) for own in differing]
    runs.append(Kind("teacher B0", "", {"stage": "teacher"}))
    tell_kinds_apart(runs)
    assert [run.name for run in runs] == [
        "student B0, --lr 0.001, no --max-steps, --flip",
        "student B0, --lr 0.001, no --max-steps, --flip",
        "student B0, --lr 0.0006, no --max-steps, --flip",
        "student B0, --lr 0.001, --max-steps 9, --no-flip",
        "teacher B0",
    ]


def test_data_tell_runs_of_one_seed_apart():
    same_seed = kinds({"seed": 0, "datadir": "x/a"}, {"seed": 0, "datadir": "y/a"})
    assert same_seed == ["KD B0, --datadir x/a", "KD B0, --datadir y/a"]


def test_teachers_tell_runs_of_one_seed_apart():
    assert kinds({"seed": 0, "teacher": "b3"}, {"seed": 1, "teacher": "b5"}) == ["KD B0"] * 2
    same_seed = kinds({"seed": 0, "teacher": "b3"}, {"seed": 0, "teacher": "b5"})
    assert same_seed == ["KD B0, --teacher b3", "KD B0, --teacher b5"]
    older_release = kinds({"seed": 0}, {"seed": 1, "amp": "auto"})
    assert older_release == ["KD B0"] * 2


def test_a_network_and_its_exports_are_no_repetitions():
    runs = [Kind("network B0", state, {}) for state in ("b0.pth", "b0.onnx")]
    tell_kinds_apart(runs)
    assert [run.name for run in runs] == ["network B0, b0.pth", "network B0, b0.onnx"]


def test_runs_of_other_teachers_are_no_repetitions(teacher_of):
    small, large = teacher_of("b1", "SegformerB1"), teacher_of("b3", "SegformerB3")
    runs = [{"seed": 0, "teacher": small}, {"seed": 1, "teacher": large}]
    assert kinds(*runs) == ["KD B0, teacher SegformerB1", "KD B0, teacher SegformerB3"]
    assert kinds(*runs, {"seed": 2, "teacher": [large, small]})[2] == (
        "KD B0, teachers SegformerB1, SegformerB3"
    )
    gone = kinds({"seed": 0, "teacher": ["a", "b"]}, {"seed": 1, "teacher": "c"})
    assert gone == ["KD B0, teachers a, b", "KD B0, teacher c"]


def test_the_network_of_a_teacher_without_a_run_folder_is_read_from_its_file(
    write_checkpoint, teacher_of
):
    file, _ = write_checkpoint("copied.pth")
    runs = [{"seed": 0, "teacher": str(file)}, {"seed": 1, "teacher": teacher_of("b1", "B1")}]
    assert kinds(*runs) == ["KD B0, teacher SegformerB0", "KD B0, teacher B1"]


def test_teachers_of_each_seed_leave_runs_repetitions(teacher_of):
    """Also beside another run of a study with the same seeds."""
    files = [teacher_of(f"teacher/seed{seed}", "SegformerB1") for seed in (0, 1)]
    runs = [
        {"seed": seed, "teacher": file, "max_steps": steps}
        for steps in (100, 200)
        for seed, file in enumerate(files)
    ]
    assert kinds(*runs) == ["KD B0, --max-steps 100"] * 2 + ["KD B0, --max-steps 200"] * 2


def test_runs_on_other_data_are_no_repetitions():
    runs = [{"seed": seed, "datadir": f"/data/{name}"} for seed, name in enumerate("ab")]
    assert kinds(*runs) == ["KD B0, --datadir /data/a", "KD B0, --datadir /data/b"]
    moved = [{"seed": 0, "datadir": "/here/a"}, {"seed": 1, "datadir": "/there/a"}]
    assert kinds(*moved) == ["KD B0"] * 2


def test_digests_of_the_data_count_where_both_runs_have_one(folder_of):
    one, same, other = (folder_of(name, 3 * f"{name[0]}1234567") for name in ("a", "a2", "b"))
    renamed = [{"seed": 0, "datadir": "/a"}, {"seed": 1, "datadir": "/b"}]
    assert kinds(*renamed, states=[one, same]) == ["KD B0"] * 2
    changed = [{"seed": 0, "datadir": "/a"}, {"seed": 1, "datadir": "/a"}]
    assert kinds(*changed, states=[one, other]) == [
        "KD B0, --datadir /a (data_sha256 a1234567)",
        "KD B0, --datadir /a (data_sha256 b1234567)",
    ]
    assert kinds(*changed, states=[one, "nowhere"]) == ["KD B0"] * 2
