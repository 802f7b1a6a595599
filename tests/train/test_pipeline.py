"""The whole way: presets, what a folder remembers, steps that are done once, signals, estimates."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import train.networks
from command_line.documents import read_yaml
from datasets import prepare
from tests import scripts
from train import pipeline
from train.plan import estimate as estimates
from train.plan.estimate import Estimate, estimate, spoken
from train.plan.outline import make_plan, write_recipe
from train.plan.presets import PRESETS, Facts, fit
from train.plan.request import Request, remember, settle
from train.plan.running import Runner, claimed
from train.plan.steps import RECIPE, plan_steps
from train.plan.timing import Cost, time_run

ROOT = scripts.ROOT


@pytest.mark.parametrize(
    ("preset", "facts", "expected"),
    [
        # few small photographs: whole ones, and as few steps as there may be
        ("laptop", Facts(3, 1, "val", 1, 100), {"height": 96, "batch-size": 3, "max-steps": 300}),
        ("laptop", Facts(39, 8, "test", 21, 966), {"height": 256, "image-size": 512}),
        ("laptop", Facts(367, 101, "test", 233, 360), {"cache": "ram", "max-steps": 1200}),
        ("night", Facts(367, 101, "test", 233, 360), {"image-size": "native", "max-steps": 4000}),
        # 1 GB is reached at 0.75e9 / (4 * 500^2) images
        ("laptop", Facts(749, 9, "val", 9, 500), {"cache": "ram"}),
        ("laptop", Facts(750, 9, "val", 9, 500), {"cache": "none"}),
        ("gpu", Facts(367, 101, "test", 233, 360), {"height": 352, "max-steps": 36400}),
        ("gpu", Facts(10**6, 9, "test", 9, 4000), {"cache": "none", "max-steps": 40000}),
    ],
)
def test_a_preset_is_fitted_to_the_data(preset, facts, expected):
    recipe = fit(PRESETS[preset], facts, None, pretrained=False)
    assert expected.items() <= recipe.items()
    assert recipe["lr"] == 6e-4


def test_imagenet_weights_get_a_lower_rate_and_steps_are_the_users():
    recipe = fit(PRESETS["laptop"], Facts(40, 8, "val", 8, 400), 77, pretrained=True)
    assert recipe["max-steps"] == 77 and recipe["pretrained"] is True
    assert recipe["lr"] < fit(PRESETS["laptop"], Facts(40, 8, "val", 8, 400), 77, False)["lr"]


def test_weights_of_drawn_fields_are_trained_on_at_the_rate_of_random_ones():
    facts = Facts(40, 8, "val", 8, 400)
    without = fit(PRESETS["laptop"], facts, None, pretrained=False)
    assert without.pop("class-weights") == "auto"  # a network that knows plants finds rare ones
    assert fit(PRESETS["laptop"], facts, None, "fields") == without | {"pretrained": "fields"}


@pytest.mark.parametrize(
    ("words", "start"),
    [((), False), (("--pretrained",), True), (("--pretrained", "fields"), "fields")],
)
def test_the_start_of_a_pipeline_is_kept_in_its_folder(tmp_path, words, start):
    args = pipeline.build_parser().parse_args(["--output", str(tmp_path), *words])
    begun = settle({"preset": "laptop", "pretrained": args.pretrained}, tmp_path)
    assert begun.pretrained == start and type(begun.pretrained) is type(start)
    remember(begun, tmp_path)
    assert settle({}, tmp_path) == begun


def test_a_folder_remembers_what_it_was_begun_with(tmp_path):
    folder = tmp_path / "run"
    begun = settle({"preset": "laptop", "datadir": tmp_path / "data", "model": None}, folder)
    assert begun.model == "SegformerB0" and begun.datadir == str(tmp_path / "data")
    folder.mkdir()
    remember(begun, folder)
    write_run(folder / "teacher", steps=1)
    assert settle({"preset": None, "steps": None}, folder) == begun
    with pytest.raises(ValueError, match="--preset gpu: .* was begun with laptop; leave the flag"):
        settle({"preset": "gpu"}, folder)
    (folder / "pipeline.yaml").write_text("preset: night\nsteps: 9\n")  # of an earlier version
    assert settle({}, folder) == Request("night", steps=9)


def test_until_a_run_has_weights_other_flags_replace_those_of_a_failed_start(tmp_path):
    first = settle({"preset": "laptop", "datadir": tmp_path, "pretrained": True}, tmp_path)
    remember(first, tmp_path)
    for name in MADE_BEFORE_TRAINING:
        (tmp_path / name).touch()
    assert settle({}, tmp_path) == first  # the short form of the same command
    remember(first, tmp_path)
    assert all((tmp_path / name).exists() for name in MADE_BEFORE_TRAINING)
    second = settle({"preset": "laptop", "datadir": tmp_path}, tmp_path)
    assert second.pretrained is False
    remember(second, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]
    assert settle({}, tmp_path) == second


def test_flags_cannot_change_while_a_command_waits_for_one_that_trains(tmp_path):
    remember(Request("laptop"), tmp_path)
    waiting = settle({"preset": "night"}, tmp_path)
    write_run(tmp_path / "teacher", steps=1)
    with pytest.raises(ValueError, match=f"--output {tmp_path}: another command has begun .* name"):
        remember(waiting, tmp_path)
    assert settle({}, tmp_path) == Request("laptop")


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="holds something else; name a new folder"):
        settle({}, tmp_path)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"model": "SegformerB1"}, "model differs from run to run; networks and method are"),
        ({"lrr": 1}, "unknown flag 'lrr'"),
        ({"num_epochs": 20}, "num-epochs: a pipeline counts steps: write max-steps in its place"),
        ({"height": 8}, "--height 8: networks need images of at least 32 px"),
    ],
)
def test_a_mistake_in_the_recipe_is_told_before_anything_is_done(voc, tmp_path, written, message):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(written))
    request = Request("laptop", datadir=str(voc), classes="soil,crop,weed", config=str(path))
    with pytest.raises(ValueError, match=message):
        make_plan(request, None)


def test_own_flags_override_the_preset(voc, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        yaml.safe_dump({"batch_size": 2, "lr": 0.1, "num-epochs": 9, "max-steps": None})
    )
    request = Request(
        "laptop", datadir=str(voc), classes="soil,crop,weed", config=str(path), steps=7
    )
    plan = make_plan(request, None)
    assert (plan.recipe["batch-size"], plan.recipe["lr"], plan.recipe["max-steps"]) == (2, 0.1, 7)
    assert plan.facts == Facts(train=6, val=2, score="val", scored=2, short_side=48)
    stage, flags = plan.runs["distilled"]
    assert (stage, flags["method"], flags["model"]) == ("sekd", "sekd-ct", "SegformerB0")
    assert plan.runs["teacher"][1]["model"] == "SegformerB1"


def test_unlabelled_photographs_are_for_the_distilled_student(voc, tmp_path):
    given = {"preset": "laptop", "datadir": str(voc), "classes": "soil,crop,weed", "steps": 10}
    request = settle({**given, "unlabelled": "photos"}, tmp_path / "run")
    photographs = str(Path("photos").absolute())
    assert request.unlabelled == photographs
    plan = make_plan(request, None)
    assert plan.runs["distilled"][1]["unlabelled"] == photographs
    assert f"those of {photographs} to distil on without labels" in plan.tell()
    steps = plan_steps(request, tmp_path, plan.teacher_model, 10, "val")
    having = [step.name for step in steps if "--unlabelled" in step.words]
    assert having == ["distilled"] and "unlabelled" not in plan.runs["student"][1]
    assert settle({**given, "unlabelled": "rest"}, tmp_path / "run").unlabelled == "rest"


def test_the_start_is_told(voc):
    request = Request("laptop", datadir=str(voc), classes="soil,crop,weed")
    plan = make_plan(request, None)
    assert "from random weights" in plan.tell()
    plan.recipe["pretrained"] = "fields"
    assert "from fields weights" in plan.tell()
    plan.recipe["pretrained"] = True
    assert "from ImageNet weights" in plan.tell()


def test_missing_imagenet_weights_are_told_first_with_what_the_flag_takes(
    voc, tmp_path, monkeypatch
):
    weights = tmp_path / "ckpt_pretrained"
    weights.mkdir()
    monkeypatch.setattr(train.networks, "CHECKPOINTS", weights)
    request = Request("laptop", datadir=str(voc), classes="soil,crop,weed", pretrained=True)
    with pytest.raises(FileNotFoundError) as caught:
        make_plan(request, None)
    assert str(caught.value) == (
        f"--pretrained: {weights / 'mit_b1.pth'} is not there; ckpt_pretrained/README.md says "
        "where it comes from, or start from the project's own weights with --pretrained fields"
    )
    (weights / "mit_b1.pth").touch()
    with pytest.raises(FileNotFoundError, match="mit_b0.pth is not there"):
        make_plan(request, None)
    (weights / "mit_b0.pth").touch()
    assert make_plan(request, None).recipe["pretrained"] is True


def test_a_corrected_recipe_takes_effect_until_a_run_has_weights(voc, folder, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("pretrained: typo.pth")
    request = Request(
        "laptop", datadir=str(voc), classes="soil,crop,weed", steps=10, config=str(own)
    )
    write_recipe(make_plan(request, folder), folder)
    assert estimates.read(folder)
    own.write_text("pretrained: right.pth")
    plan = make_plan(request, folder)
    assert plan.recipe["pretrained"] == "right.pth"
    write_recipe(plan, folder)
    assert estimates.read(folder) is None
    write_run(folder / "teacher", steps=1)
    own.write_text("pretrained: late.pth")
    plan = make_plan(request, folder)
    write_recipe(plan, folder)
    assert plan.recipe["pretrained"] == "right.pth" == read_yaml(folder / RECIPE)["pretrained"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "a second"), (80, "80 seconds"), (3000, "50 minutes"), (32400, "9 hours"),
     (345600, "4 days")],
)  # fmt: skip
def test_durations_are_spoken(seconds, words):
    assert spoken(seconds) == words


def test_an_estimate_counts_validation_and_what_comes_after():
    costs = {"teacher": Cost(start=1, step=2, image=0.5), "student": Cost(1, 1, 0.25)}
    facts = Facts(train=8, val=10, score="test", scored=4, short_side=64)
    recipe = {"max-steps": 10, "batch-size": 4, "val-every": 2}  # 5 epochs, 3 validations
    found = estimate(costs, recipe, facts, startup=3, device="cpu")
    assert found.runs == {"teacher": 3 + 1 + 20 + 15, "student": 3 + 1 + 10 + 7.5}
    assert found.rest == 2 * 4 * 0.75 + 5 * 3
    assert found.tell().startswith("about 82 seconds on this CPU: teacher 39 seconds, ")


class Commands:
    """Stands for `Runner`: makes what the commands would make, and remembers them."""

    def __init__(self, statuses=None, train_to=None):
        self.statuses, self.train_to = statuses or {}, train_to or {}
        self.started = []

    def __call__(self, words, record=None, accepted=(0,)):
        script = Path(words[0]).stem
        name = words[words.index("--run-name") + 1] if "--run-name" in words else script
        self.started.append((name, words[-1]))
        status = self.statuses.get(name, 0)
        if status in accepted:
            self.make(name, words, record)
        return status

    def make(self, name, words, record):
        if record is not None:
            record.write_text("checked")
        elif "--run-name" in words:
            run = Path(words[words.index("--savedir") + 1]) / name
            write_run(run, self.train_to.get(name, 10))
        else:
            output = Path(words[words.index("--output") + 1])
            if name == "compare":
                output.mkdir()
                scores = [{"name": n, "miou": m} for n, m in (("T", 0.7), ("S", 0.6), ("D", 0.65))]
                (output / "comparison.json").write_text(json.dumps({"results": scores}))
            else:
                output.touch()


def write_run(run, steps):
    run.mkdir(exist_ok=True)
    for name in ("best.pth", "last.pth"):
        (run / name).touch()
    (run / "log.csv").write_text(f"epoch,step\n1,{steps}\n")


@pytest.fixture
def plan(voc):
    return make_plan(Request("laptop", datadir=str(voc), classes="soil,crop,weed", steps=10), None)


@pytest.fixture
def folder(tmp_path):
    """Of a pipeline that has been timed."""
    path = tmp_path / "whole"
    path.mkdir()
    runs = {"teacher": 60.0, "student": 30.0, "distilled": 40.0}
    estimates.save(Estimate(runs, 30.0, "cpu"), path)
    return path


MADE_BEFORE_TRAINING = ("check.txt", "recipe.yaml", "estimate.yaml")
NAMES = ["prepare", "teacher", "student", "distilled", "compare", "report", "export"]


def test_every_step_is_done_once_and_the_result_is_told(plan, folder, capsys):
    commands = Commands()
    assert pipeline.go(plan, folder, commands, accept_problems=False) == 0
    assert [name for name, _ in commands.started] == NAMES
    printed = capsys.readouterr().out
    assert "step 1 of 6, teacher; about 3 minutes left in all" in printed
    assert "step 6 of 6, export; about 10 seconds left in all" in printed
    assert "mIoU in %: T 70.00, S 60.00, D 65.00; distillation +5.00" in printed
    again = Commands()
    assert pipeline.go(plan, folder, again, accept_problems=False) == 0
    assert again.started == []
    assert "distillation +5.00" in capsys.readouterr().out


def test_where_the_student_alone_is_better_its_export_is_a_command_to_paste(tmp_path, monkeypatch):
    folder = tmp_path / "my field's runs"
    (folder / "comparison").mkdir(parents=True)
    scores = [{"name": n, "miou": m} for n, m in (("T", 0.7), ("S", 0.66), ("D", 0.65))]
    (folder / "comparison" / "comparison.json").write_text(json.dumps({"results": scores}))
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in pipeline.summary(folder).splitlines() if "instead" in line]
    python, script, *flags = shlex.split(line.partition("instead: ")[2])
    assert Path(python).samefile(sys.executable)
    assert Path(script).samefile(ROOT / "eval" / "export.py")
    assert flags[-2:] == ["--state", str(folder / "student")]


def test_it_goes_on_where_it_was_killed(plan, folder):
    stopped = Commands(statuses={"distilled": 2})
    assert pipeline.go(plan, folder, stopped, accept_problems=False) == 2
    write_run(folder / "student", steps=4)  # as if it had been killed in the middle
    commands = Commands()
    assert pipeline.go(plan, folder, commands, accept_problems=False) == 0
    assert [name for name, _ in commands.started] == NAMES[2:]
    assert dict(commands.started)["student"] == "--resume"
    assert dict(commands.started)["distilled"] == "--overwrite"  # it had saved nothing


def test_problems_of_the_data_come_first_unless_they_are_accepted(plan, folder):
    with pytest.raises(ValueError, match="correct them and run the same command, or pass --accept"):
        pipeline.go(plan, folder, Commands(statuses={"prepare": 1}), accept_problems=False)
    assert not (folder / "recipe.yaml").exists()  # the corrected data may be larger
    commands = Commands(statuses={"prepare": 1})
    assert pipeline.go(plan, folder, commands, accept_problems=True) == 0


def test_accepting_problems_where_there_are_none_changes_nothing(plan, folder):
    assert pipeline.go(plan, folder, Commands(), accept_problems=True) == 0


@pytest.mark.parametrize("status", [1, 2])
def test_what_a_step_has_told_is_not_told_again(plan, folder, status):
    commands = Commands(statuses={"report": status})
    assert pipeline.go(plan, folder, commands, accept_problems=False) == status


def test_a_step_that_dies_is_told_in_one_line(plan, folder):
    commands = Commands(statuses={"student": -9})
    with pytest.raises(ValueError, match="step student ended by signal 9, as where memory ends"):
        pipeline.go(plan, folder, commands, accept_problems=False)


@pytest.mark.parametrize("unlabelled", [None, "rest"])
def test_timing_a_run_leaves_nothing_behind(unlabelled, voc, tmp_path, monkeypatch, build_tiny):
    from accelerate.state import AcceleratorState

    monkeypatch.setattr(train.networks, "build_model", lambda name, classes: build_tiny(classes))
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(True)
    flags = {
        "dataset": "VOC", "datadir": str(voc), "classes": "soil,crop,weed", "height": 32,
        "batch-size": 2, "num-workers": 0, "device": "cpu", "max-steps": 1000,
    }  # fmt: skip
    flags |= {"method": "kd", "model": "SegformerB0", "limit-train": 4, "unlabelled": unlabelled}
    cost = time_run("sekd", flags, "SegformerB0")
    assert cost.step > 0 and cost.image > 0 and cost.start > 0
    assert list(tmp_path.iterdir()) == []


CHILD = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    pathlib.Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
pathlib.Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_waits_until_the_command_has_saved(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    Path("child.py").write_text(CHILD)

    def press():
        while not Path("ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=press).start()
    with claimed(tmp_path) as lock, pytest.raises(KeyboardInterrupt):
        Runner(lock)([str(tmp_path / "child.py")])
    assert Path("saved").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_command_prints_is_kept_if_it_succeeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("child.py").write_text("import sys; print('checked'); sys.exit(int(sys.argv[1]))")
    with claimed(tmp_path) as lock:
        runner = Runner(lock)
        assert runner([str(tmp_path / "child.py"), "1"], Path("record")) == 1
        assert not Path("record").exists()
        assert runner([str(tmp_path / "child.py"), "0"], Path("record")) == 0
    assert Path("record").read_text() == "checked\n"
    assert capsys.readouterr().out.count("checked\n") == 2


def test_a_launcher_starts_training_and_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("train_student.py", "report.py"):
        Path(name).write_text("import os, pathlib; pathlib.Path(os.environ['NAME']).touch()")
    monkeypatch.setenv("NAME", "directly")
    with claimed(tmp_path) as lock:
        runner = Runner(lock, f"env NAME=launched {sys.executable}")
        assert runner([str(tmp_path / "train_student.py")]) == 0
        assert Path("launched").exists() and not Path("directly").exists()
        assert runner([str(tmp_path / "report.py")]) == 0
        assert Path("directly").exists()
        with pytest.raises(ValueError, match="--launcher torchrunn -n 2: there is no program torc"):
            Runner(lock, "torchrunn -n 2")
    assert "$ env NAME=launched" in capsys.readouterr().out


def test_a_pipeline_waits_for_what_a_killed_one_has_left_running(tmp_path):
    code = "import pathlib, time; time.sleep(1); pathlib.Path('ended').touch()"
    with claimed(tmp_path) as lock:
        subprocess.Popen([sys.executable, "-c", code], pass_fds=[lock], cwd=tmp_path)
    with claimed(tmp_path):
        assert (tmp_path / "ended").exists()


def made_camvid(root):
    """The folders of CamVid, with ids 0 to 10 and void, 11."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for part in (split, f"{split}annot"):
            (root / part).mkdir(parents=True)
        for number in range(count):
            ids = np.kron(random.permutation(12).reshape(3, 4), np.ones((16, 16), int))
            image = (ids[..., None] * 20 + random.integers(0, 16, (48, 64, 3))).astype(np.uint8)
            Image.fromarray(image).save(root / split / f"{split}{number}.png")
            label = Image.fromarray(ids.astype(np.uint8))
            label.save(root / f"{split}annot" / f"{split}{number}.png")


def part_of_camvid(source, root):
    """A few of the published images and labels."""
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        labels = sorted((source / f"{split}annot").glob("*.png"))
        for label in labels[:: len(labels) // count][:count]:
            (image,) = (source / split).glob(f"{label.stem}.*")
            for path, folder in ((image, split), (label, f"{split}annot")):
                (root / folder).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, root / folder)


CLASSES = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
IMPORT = ["import", "--input", "camvid", "--output", "CAMVID", "--ignore", "11"]
IMPORT += ["--classes", CLASSES]  # docs/quickstart.md


def test_camvid_as_published_is_imported(camvid_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part_of_camvid(camvid_root, tmp_path / "camvid")
    monkeypatch.setattr(sys, "argv", ["prepare.py", *IMPORT])
    assert not prepare.main()
    plan = make_plan(Request("laptop", datadir="CAMVID"), None)
    assert (plan.facts.train, plan.facts.val, plan.facts.scored) == (4, 2, 2)
    assert plan.facts.short_side == 360


@pytest.mark.slow
def test_camvid_in_its_folders_becomes_a_report_by_two_commands(tmp_path):
    """The two commands of docs/quickstart.md, at tiny size; the second is stopped once."""
    made_camvid(tmp_path / "camvid")
    scripts.execute(ROOT / "datasets" / "prepare.py", IMPORT, tmp_path)
    (tmp_path / "tiny.yaml").write_text(
        "{height: 32, image-size: 48, num-workers: 0, val-every: 6}"
    )
    script = ROOT / "train" / "pipeline.py"
    words = ["--datadir", "CAMVID", "--output", "runs/camvid", "--accept-problems"]
    tiny = ["--steps", "12", "--teacher-model", "SegformerB0", "--device", "cpu"]
    first = scripts.start(script, [*words, *tiny, "--config", "tiny.yaml"], tmp_path)
    while "\nepoch 1/" not in first.printed and first.process.is_alive():
        time.sleep(0.05)
    first.process.terminate()
    assert first.wait() == 130, first.printed
    folder = tmp_path / "runs" / "camvid"
    assert (folder / "teacher" / "last.pth").exists() and not (folder / "student").exists()
    printed = scripts.execute(script, words, tmp_path)
    assert "timing" not in printed and "distillation" in printed
    assert "4 images in 'train', 2 in 'val'" in printed
    assert "bicyclist" in (folder / "report.html").read_text()
    assert (folder / "student.onnx").stat().st_size > 10**6
    results = json.loads((folder / "comparison" / "comparison.json").read_text())["results"]
    assert len(results) == 3 and all(len(each["per_class"]) == 11 for each in results)
