"""What a distillation run does, seen from outside: its flags, its teacher and its resumption."""

import json
import shutil

import pytest
import torch

from models.files import digest
from tests.train.test_behaviour import log_of

ONE_STEP = ("--max-steps", "1", "--warmup-steps", "0", "--steps-loss", "1", "--teacher-val", "no")


@pytest.fixture
def teacher(run_stage, runs):
    """A checkpoint of a teacher that was trained for one epoch."""
    assert run_stage("teacher", "--num-epochs", "1", "--run-name", "teacher") == 0
    return runs / "teacher" / "best.pth"


@pytest.fixture
def first_terms(run_stage, runs, teacher):
    """`first_terms(*flags)`: the loss terms of the first step of a student and its teacher."""

    def terms(*flags):
        flags = (*ONE_STEP, "--teacher", teacher, *flags, "--run-name", "first", "--overwrite")
        assert run_stage("sekd", *flags) == 0
        return {k: float(v) for k, v in log_of(runs / "first")[0].items() if v}

    return terms


def test_kd_weight_scales_the_terms_of_the_method_alone(first_terms):
    once, thrice = (first_terms("--method", "kd", "--kd-weight", w) for w in (1, 3))
    assert once["kd"] > 0
    assert thrice["kd"] == pytest.approx(3 * once["kd"], rel=1e-4)
    assert once["loss"] - once["kd"] == pytest.approx(thrice["loss"] - thrice["kd"], rel=1e-3)


def test_temperature_softens(first_terms):
    hard, soft = (first_terms("--method", "kd", "--temperature", t)["kd"] for t in (1, 8))
    assert abs(hard - soft) > 1e-4 * hard


@pytest.mark.parametrize("amp", ["none", "bf16"])
def test_answers_about_whole_images_teach_what_their_teacher_says(amp, first_terms):
    """Of views that are whole images; of others, answers about the whole differ."""
    flags = ("--method", "kd+jml", "--scale", 1, 1, "--no-flip", "--no-photometric", "--amp", amp)
    for size, alike in (((48, 64), True), ((32, 32), False)):
        crop = (*flags, "--image-size", "48x64", "--height", size[0], "--width", size[1])
        asked, cached = first_terms(*crop), first_terms(*crop, "--kd-cache")
        said = [asked["kd"], asked["jml"]]
        assert ([cached["kd"], cached["jml"]] == pytest.approx(said, rel=3e-3)) is alike


@pytest.mark.parametrize("flags", [("--cutmix", "0.5"), ("--protocol", "paper")])
def test_without_a_teacher_its_cache_has_no_effect(flags, run_stage):
    assert run_stage("sekd", *ONE_STEP, "--method", "none", "--kd-cache", *flags) == 0


def test_images_that_cannot_be_read_are_not_answered_for(run_stage, teacher, write_voc, tmp_path):
    broken = write_voc(tmp_path / "broken")
    (broken / "JPEGImages" / "field01.jpg").write_bytes(b"no image")
    flags = ("--teacher", teacher, "--method", "kd", "--kd-cache", "--on-bad-sample", "skip")
    assert run_stage("sekd", *ONE_STEP, *flags, "--num-epochs", "1", data=broken) == 0


@pytest.mark.parametrize("method", ["kd", "sekd-ct"])
def test_the_teacher_does_not_learn(method, run_stage, runs, teacher, load, assert_same):
    """Its file is as it was, and the optimizer holds the student and its adapters alone."""
    before = load(teacher)["model"]
    flags = (*ONE_STEP, "--method", method, "--teacher", teacher)
    assert run_stage("sekd", *flags, "--run-name", "taught") == 0
    assert_same(before, load(teacher)["model"])
    trained = load(runs / "taught" / "last.pth")
    learnable = sum(p.numel() for p in trained["model"].values() if p.is_floating_point())
    learnable += sum(p.numel() for p in trained["adapters"].values())
    optimized = trained["training"]["optimizer"]["state"].values()
    assert 0 < sum(entry["exp_avg"].numel() for entry in optimized) <= learnable


@pytest.fixture
def another_teacher(run_stage, runs):
    """A checkpoint of a teacher with other weights."""
    assert run_stage("teacher", "--num-epochs", "1", "--seed", "1", "--run-name", "another") == 0
    return runs / "another" / "best.pth"


@pytest.fixture
def interrupted(run_stage, teacher, interrupt_after):
    """Flags of a distillation run that was stopped in its second step, without its teacher."""
    flags = ("--method", "kd", "--max-steps", "3", "--run-name", "taught", "--teacher-val", "no")
    interrupt_after(2)
    assert run_stage("sekd", *flags, "--teacher", teacher) == 130
    return flags


def test_a_run_goes_on_with_the_teacher_that_it_began_with_alone(
    run_stage, runs, teacher, another_teacher, interrupted, tmp_path, capsys
):
    began_with = digest(teacher)
    moved = shutil.copy(teacher, tmp_path / "moved.pth")
    shutil.copy(another_teacher, teacher)  # in its place
    before = (runs / "taught" / "last.pth").read_bytes()
    for flags, message in (
        ((), f"the teacher {teacher} is not the one that the run began with: put that back, or"),
        (("--teacher", another_teacher), f"the teacher {another_teacher} is not the one that"),
        (("--teacher", moved, teacher), "the run began with 1 teacher(s), not 2: resume with"),
    ):
        assert run_stage("sekd", *interrupted, *flags, "--resume") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"--resume: {message}" in error
        assert (runs / "taught" / "last.pth").read_bytes() == before
    assert run_stage("sekd", *interrupted, "--teacher", moved, "--resume") == 0
    record = json.loads((runs / "taught" / "results.json").read_text())
    assert record["teacher_sha256"] == [began_with]


def test_a_checkpoint_that_does_not_know_its_teacher_is_resumed(
    run_stage, runs, another_teacher, interrupted, load
):
    last = runs / "taught" / "last.pth"
    content = load(last)
    for name in ("start", "teachers"):
        del content["training"]["progress"][name]
    torch.save(content, last)
    assert run_stage("sekd", *interrupted, "--teacher", another_teacher, "--resume") == 0
    assert json.loads((runs / "taught" / "results.json").read_text())["teacher_sha256"] is None


def test_all_teachers_are_recorded_in_order(run_stage, runs, teacher, another_teacher):
    flags = (*ONE_STEP, "--method", "kd", "--run-name", "both", "--teacher")
    assert run_stage("sekd", *flags, teacher, another_teacher) == 0
    record = json.loads((runs / "both" / "results.json").read_text())
    assert record["teacher_sha256"] == [digest(teacher), digest(another_teacher)]
