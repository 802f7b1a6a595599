"""Training in ways that need more than plain float32 on a CPU: scaler, compiler, GPU."""

import shutil

import pytest
import torch

from command_line.notes import note
from tests.train.test_behaviour import log_of
from train import precision

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SHORT = ("--warmup-steps", "0", "--steps-loss", "1")


def test_the_scaler_of_fp16_is_resumed(use_scaler, run_stage, runs, load, assert_same):
    flags = ("--num-epochs", "3", "--run-name")
    use_scaler()
    assert run_stage("student", *flags, "whole") == 0
    use_scaler(interrupt_at=4)
    assert run_stage("student", *flags, "parts") == 130
    stopped = load(runs / "parts" / "last.pth")["training"]
    assert stopped["progress"]["step"] == 4
    assert stopped["scaler"]["scale"] == 16 * 2**2
    use_scaler()
    assert run_stage("student", *flags, "parts", "--resume") == 0
    whole, parts = (load(runs / name / "last.pth") for name in ("whole", "parts"))
    assert whole["training"]["scaler"]["scale"] == 16 * 2**4  # 9 steps
    for key in ("model", "training"):
        assert_same(whole[key], parts[key], key)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_learns_the_same(run_stage, runs):
    for name, flag in (("eager", "--no-compile"), ("compiled", "--compile")):
        flags = ("--max-steps", "2", *SHORT, flag, "--run-name", name)
        assert run_stage("student", *flags, "--no-photometric") == 0
    eager, compiled = (log_of(runs / name) for name in ("eager", "compiled"))
    assert [float(row["loss"]) for row in compiled] == pytest.approx(
        [float(row["loss"]) for row in eager], rel=1e-3
    )


@pytest.mark.parametrize("emulated", [False, True])
def test_bf16_where_it_is_emulated_is_noted(emulated, monkeypatch, capsys):
    note.cache_clear()
    monkeypatch.setattr(precision, "has_bf16", lambda device: not emulated)
    cpu = torch.device("cpu")
    assert precision.resolve_precision("auto", cpu) == precision.resolve_precision("none", cpu)
    assert not capsys.readouterr().err
    assert precision.resolve_precision("bf16", cpu) == "bf16"
    told = ["note: --amp bf16: this processor only emulates bf16, many times slower than float32; "
            "--amp none avoids that"]  # fmt: skip
    assert capsys.readouterr().err.splitlines() == told * emulated
    assert precision.resolve_teacher_precision("bf16", cpu) == torch.bfloat16
    assert ("--teacher-amp none" in capsys.readouterr().err) == emulated


@pytest.mark.cuda
@no_cuda
def test_a_gpu_answers_as_the_cpu_does(tiny_model):
    images = torch.rand(2, 3, 72, 104, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = tiny_model(images)
        found = tiny_model.cuda()(images.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.cuda
@no_cuda
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_on_a_gpu_is_close_to_float32(amp, run_stage, runs):
    for name in ("none", amp):
        flags = ("--device", "cuda", "--amp", name, "--max-steps", "1", *SHORT)
        assert run_stage("student", *flags, "--run-name", name) == 0
    plain, mixed = (float(log_of(runs / name)[0]["loss"]) for name in ("none", amp))
    assert mixed == pytest.approx(plain, rel=0.02)


@pytest.mark.cuda
@no_cuda
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_run_is_resumed_on_a_gpu(amp, run_stage, runs, load):
    flags = ("--device", "cuda", "--amp", amp, "--run-name", "r")
    assert run_stage("student", *flags, "--num-epochs", "1") == 0
    scaler = load(runs / "r" / "last.pth")["training"]["scaler"]
    assert (scaler is not None) == (amp == "fp16")
    assert run_stage("student", *flags, "--num-epochs", "2", "--resume") == 0
    saved = load(runs / "r" / "last.pth")["training"]
    assert saved["progress"]["step"] == 6
    if amp == "fp16":  # the count of good steps goes on
        assert saved["scaler"]["_growth_tracker"] > scaler["_growth_tracker"]
