"""The scripts as processes of their own: by path, published command lines, several processes."""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
ROOMS = ("train", "eval", "models", "datasets", "losses", "command_line", "conventions")
EPOCHS = ("--num-epochs 500", "--num-epochs 1")
DEVICE = [("--cuda ", ""), ("--device cuda", "--device cpu")]
PUBLISHED = [
    "train_teacher.py --cuda --model SegformerB3 --dataset VOC --datadir ./VOC2012 --height 512 "
    "--num-epochs 500 --num-workers 4 --batch-size 4 --steps-loss 50 --steps-plot 50 "
    "--epochs-save 0 --savedir ckpt --savedate --iouVal --device cuda",
    "train_student.py --cuda --model SegformerB0 --dataset VOC --datadir ./VOC2012 --height 512 "
    "--num-epochs 500 --num-workers 4 --batch-size 4 --steps-loss 50 --steps-plot 50 "
    "--epochs-save 0 --savedir ckpt --savedate --iouVal --device cuda",
    "train_sekd.py --cuda --model SegformerB0 --dataset VOC --datadir ./VOC2012 --num-epochs 500 "
    "--num-workers 4 --batch-size 4 --steps-loss 50 --steps-plot 50 --epochs-save 0 --savedate "
    "--iouVal --device cuda --knowledge-distillation-loss "
    "MultiScaleContextAlignmentDistillationLoss --kd-tau 1.0 --kd-alpha 0.5 "
    "--review-kd-loss-weight 1.0 --teacher-val True --temperature 1.0 --divergence --lr 5e-5 "
    "--height 512 --width 512",
]
EVALUATE = "--subset val --distillation-type sekd --num-workers 4 --batch-size 1 --cpu"


def execute(words, cwd, **environment):
    """Run a command; return what it printed, or fail with all of it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path):
    """A copy of the code, so that runs may be written beside it."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True], ids=["from the root", "inside train"])
def test_published_command_lines_run(project, inside, write_voc):
    here = project / "train" if inside else project
    write_voc(here / "VOC2012", train=4, val=1)
    for command in PUBLISHED:
        script, *flags = command.replace(*EPOCHS).split(" ", 1)
        flags = flags[0]
        for cuda, cpu in DEVICE if not torch.cuda.is_available() else []:
            flags = flags.replace(cuda, cpu)
        execute([sys.executable, script if inside else f"train/{script}", *flags.split()], here)
    teachers = list((here / "ckpt").glob("teacher-SegformerB3-VOC-*/best.pth"))
    students = list((here / "ckpt").glob("student-SegformerB0-VOC-*/best.pth"))
    distilled = list((here / "runs").glob("sekd-SegformerB0-VOC-sekd-ct-*/best.pth"))
    assert len(teachers) == len(students) == len(distilled) == 1
    evaluate = shlex.split(EVALUATE)
    script = "../eval/eval.py" if inside else "eval/eval.py"
    state = ["--state", str(distilled[0]), "--datadir", "VOC2012"]
    assert "mIoU" in execute([sys.executable, script, *state, *evaluate], here)


TINY_FLAGS = shlex.split(
    "--classes soil,crop,weed --dataset VOC --height 64 --batch-size 2 --num-workers 1 "
    "--num-epochs 2 --savedir runs --device cpu --run-name two"
)
ACCELERATE = (
    "-m accelerate.commands.launch --cpu --num_processes 1 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no"
)
TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2"


def launch(launcher, voc, folder, *more):
    script = str(ROOT / "train" / "train_student.py")
    words = [*shlex.split(launcher), script, *TINY_FLAGS, "--datadir", str(voc), *more]
    return execute([sys.executable, *words], folder)


@pytest.mark.slow
def test_two_processes_train_one_network(voc, tmp_path):
    printed = launch(TORCHRUN, voc, tmp_path)
    assert printed.count("epoch 2/2  step 2/2") == 1  # 6 images: one batch of 2 for each process
    with (tmp_path / "runs" / "two" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    # What was logged is the score of the saved network, though each process has BatchNorm's
    # running means of its own images.
    result = tmp_path / "result.json"
    words = ["--state", "runs/two", "--json", str(result), "--device", "cpu", "--num-workers", "0"]
    execute([sys.executable, str(ROOT / "eval" / "eval.py"), *words], tmp_path)
    assert json.loads(result.read_text())["miou"] == pytest.approx(
        max(float(row["miou"]) for row in rows), abs=1e-5
    )
    # Its checkpoint has no trace of the wrapper: one process goes on, to its own longer schedule.
    assert "step 6/6" in launch("", voc, tmp_path, "--num-epochs", "2", "--resume")


@pytest.mark.slow
def test_accelerate_launches_a_run(voc, tmp_path):
    # One process: Accelerate starts several on CPUs through MPI only, which is not a requirement.
    assert "epoch 2/2  step 6/6" in launch(ACCELERATE, voc, tmp_path)
