"""The scripts as processes of their own: by path, published command lines, several processes."""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest
import torch

from models import build_model
from tests import scripts
from tests.scripts import ROOT

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
SMALL = ("--height", "64", "--width", "64")  # the last one counts; at 512 px it takes minutes
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
        scripts.execute(script if inside else f"train/{script}", [*flags.split(), *SMALL], here)
    teachers = list((here / "ckpt").glob("teacher-SegformerB3-VOC-*/best.pth"))
    students = list((here / "ckpt").glob("student-SegformerB0-VOC-*/best.pth"))
    distilled = list((here / "runs").glob("sekd-SegformerB0-VOC-sekd-ct-*/best.pth"))
    assert len(teachers) == len(students) == len(distilled) == 1
    evaluate = shlex.split(EVALUATE)
    script = "../eval/eval.py" if inside else "eval/eval.py"
    state = ["--state", str(distilled[0]), "--datadir", "VOC2012"]
    assert "mIoU" in scripts.execute(script, [*state, *evaluate], here)


TINY_FLAGS = shlex.split(
    "--classes soil,crop,weed --dataset VOC --height 64 --batch-size 2 --num-workers 1 "
    "--num-epochs 2 --savedir runs --device cpu --run-name two"
)
ACCELERATE = (
    "-m accelerate.commands.launch --cpu --num_processes 1 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no"
)
TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2"


def launch(launcher, script, folder, *flags):
    words = [*shlex.split(launcher), str(ROOT / "train" / script), *TINY_FLAGS, *map(str, flags)]
    return execute([sys.executable, *words], folder)


@pytest.mark.slow
def test_two_processes_distil_one_network(voc, tmp_path, load):
    torch.save(build_model("SegformerB0", 3).state_dict(), tmp_path / "teacher.pth")
    distil = ("--datadir", voc, "--teacher", "teacher.pth", "--teacher-val", "no")
    printed = launch(TORCHRUN, "train_sekd.py", tmp_path, *distil)
    # 6 images: one batch of 2 for each process; the first process alone reports.
    assert printed.count("epoch 2/2  step 2/2") == 1
    assert "UserWarning" not in printed
    folder = tmp_path / "runs" / "two"
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    trained = load(folder / "last.pth")
    assert not any(key.startswith("module.") for key in (*trained["model"], *trained["adapters"]))
    assert trained["adapters"]
    assert trained["training"]["progress"]["processes"] == 2
    # What was logged is the score of the saved network, though each process has BatchNorm's
    # running means of its own images.
    words = ["--state", "runs/two", "--json", "score.json", "--device", "cpu", "--num-workers", "0"]
    scripts.execute(ROOT / "eval" / "eval.py", words, tmp_path)
    assert json.loads((tmp_path / "score.json").read_text())["miou"] == pytest.approx(
        max(float(row["miou"]) for row in rows), abs=1e-5
    )
    # Its checkpoint has no trace of the wrapper: one process goes on, to its own longer schedule.
    words = [*TINY_FLAGS, *distil, "--resume"]
    assert "step 6/6" in scripts.execute(ROOT / "train" / "train_sekd.py", words, tmp_path)


@pytest.mark.slow
def test_accelerate_launches_a_run(voc, tmp_path):
    # One process: Accelerate starts several on CPUs through MPI only, which is not a requirement.
    printed = launch(ACCELERATE, "train_student.py", tmp_path, "--datadir", voc)
    assert "epoch 2/2  step 6/6" in printed
