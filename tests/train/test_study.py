"""A study: its recipe, its queue of processes and its tables."""

import csv
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib import pyplot

from train import sweep
from train.study import job_queue
from train.study.bootstrap import bootstrap
from train.study.comparison import outcomes
from train.study.job_queue import Queue
from train.study.jobs import (
    COUNTS,
    SCORES,
    is_done,
    seconds_left,
    seconds_per_step,
    to_train,
)
from train.study.plots import plot
from train.study.recipe import read_study
from train.study.settings import check_settings
from train.study.study import Job
from train.study.tables import as_json, table

SMALL = {
    "height": 32, "image-size": 32, "batch-size": 2, "limit-train": 4, "limit-val": 2,
    "num-workers": 0, "device": "cpu", "max-steps": 2, "iouVal": False,
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path):
    """A function that writes a recipe; keywords replace or add settings."""

    def write(runs, **settings) -> Path:
        path = tmp_path / "study.yaml"
        savedir = str(tmp_path / "runs")
        written = {"savedir": savedir, "runs": runs, **settings}
        # What is in it twice becomes two: PyYAML would write an alias, which recipes may not have.
        path.write_text(yaml.safe_dump(json.loads(json.dumps(written)), sort_keys=False))
        return path

    return write


def flag(job: Job, name: str) -> str:
    return next(word for word in job.words if word.startswith(f"{name}=")).split("=")[1]


def test_a_grid_makes_a_run_of_each_combination(recipe):
    runs = {"none": {"stage": "student", "grid": {"lr": [0.1, 0.2], "max-steps": [5, 10]}}}
    study = read_study(recipe(runs, seeds=[3, 4]))
    assert list(study.runs) == [
        "none lr=0.1,max-steps=5",
        "none lr=0.1,max-steps=10",
        "none lr=0.2,max-steps=5",
        "none lr=0.2,max-steps=10",
    ]
    last = study.jobs[-1]
    assert (flag(last, "--lr"), last.steps, last.seed, last.stage) == ("0.2", 10, 4, "student")


def test_flags_of_a_run_win_over_those_of_all_and_a_name_may_be_a_method(recipe):
    runs = {
        "t": {"stage": "teacher", "seeds": [7]},
        "kd+at": {"lr": 0.5},
        "alone": {"method": "cwd"},
    }
    study = read_study(recipe(runs, flags={"lr": 0.1}, teacher="t", seeds=[0]))
    teacher, joined, alone = study.jobs
    assert (flag(teacher, "--lr"), flag(joined, "--lr")) == ("0.1", "0.5")
    assert (flag(joined, "--method"), flag(alone, "--method")) == ("kd+at", "cwd")
    assert flag(joined, "--teacher") == str(teacher.folder / "last.pth")
    assert teacher.teachers == () and joined.teachers == (teacher.folder,)


@pytest.mark.parametrize(
    ("runs", "settings", "message"),
    [
        ({"kdd": {}}, {}, "run 'kdd' needs 'stage"),
        ({"kd": {"lrr": 1}}, {}, "run 'kd': .*lrr"),
        ({"kd": {"method": "kd+mgdd"}}, {}, "run 'kd' needs 'stage|mgdd is unknown"),
        ({"kd": {}}, {"baseline": "none"}, "baseline none is no run; runs: kd"),
        ({"kd": {"baseline": "none"}}, {}, "baseline none is no run; runs: kd"),
        ({"kd": {}}, {"sedes": [1]}, "unknown setting 'sedes'"),
        ({"../kd": {}}, {}, "a folder cannot have this name"),
        ({"kd": {}}, {"seeds": 3}, "study.yaml: seeds 3: expected a list of different whole numb"),
        ({"kd": {"seeds": [0, 0]}}, {}, "run 'kd': seeds \\[0, 0\\]: expected a list of different"),
        ({"kd": {"grid": {"lr": 0.1}}}, {}, "run 'kd': grid {'lr': 0.1}: expected lists of val"),
        ({"kd": {"grid": {"lr": "3e-4"}}}, {}, "run 'kd': grid .*: expected lists of values"),
        ({"kd": {"grid": ["lr"]}}, {}, "run 'kd': grid .*: expected lists of values by flag"),
        ({"kd": {"method": 3}}, {}, "run 'kd': method 3: expected a name"),
        ({"kd": {"baseline": ["a"]}}, {}, "run 'kd': baseline \\['a'\\]: expected a name"),
        ({"kd": {}}, {"flags": ["a"]}, "study.yaml: flags \\['a'\\]: expected flags and their"),
        ({"kd": {}}, {"savedir": None}, "study.yaml: savedir None: expected a name"),
        ({"kd": {}}, {"results": None}, "study.yaml: results None: expected a name"),
        ({"kd": 5}, {}, "study.yaml: runs {'kd': 5}: expected runs and their flags"),
        ({"kd": {"teacher": 5}}, {}, "run 'kd': teacher 5: expected a name, or a list of"),
        ({"kd": {"teacher": []}}, {}, "run 'kd': teacher \\[\\]: expected"),
        ({"kd": {"teacher": ["a.pth", "a.pth"]}}, {}, "a list of different ones"),
        ({"kd": {"teacher": {"a": 1}}}, {}, "expected a name"),
        ({"kd": {"teacher": "nonee"}}, {}, "teacher nonee is neither a file nor a run; runs: kd"),
        (
            {"feature": {"teacher": ["a.pth", "b.pth"]}},
            {},
            "run 'feature': --method feature compares",
        ),
        (
            {"b": {"stage": "student", "grid": {"lr": [1, 2]}}, "kd": {"teacher": "b"}},
            {},
            "teacher b is neither a file nor a run; runs: b lr=1, b lr=2",
        ),
        (["kd"], {}, "a study needs"),
    ],
)
def test_a_mistake_in_a_recipe_is_found_before_the_first_run(recipe, runs, settings, message):
    with pytest.raises((ValueError, SystemExit), match=message):
        read_study(recipe(runs, **settings))


def run_sweep(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["sweep.py", *map(str, words)])
    return sweep.main()


def test_a_study_trains_scores_and_compares_and_is_not_done_twice(
    recipe, tmp_path, monkeypatch, capfd
):
    runs = {"b1": {"stage": "teacher"}, "none": {"stage": "student"}, "kd": {}}
    path = recipe(runs, flags=SMALL, teacher="b1", baseline="none", score="val")
    output = tmp_path / "study.md"
    assert run_sweep(monkeypatch, path, "--output", output, "--parallel", 2) == 0
    text = output.read_text()
    header = "| run | seeds | steps | hours | teacher hours | mIoU | to none | 95 % interval |"
    assert header in text
    assert [line.split(" |")[0] for line in text.splitlines()[8:11]] == ["| b1", "| none", "| kd"]
    assert json.loads(output.with_suffix(".json").read_text())["baseline"] == "none"
    assert output.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    study = read_study(path)
    assert all(map(is_done, study.jobs)) and to_train(study, study.jobs) == []
    # The counts of the images are those of the whole score.
    job = study.runs["none"][0]
    with (job.folder / COUNTS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = json.loads((job.folder / SCORES).read_text())
    common, union = (sum(int(row[f"soil {what}"]) for row in rows) for what in ("common", "union"))
    assert len(rows) == scores["images"]
    assert common / union == pytest.approx(scores["per_class"]["soil"])
    capfd.readouterr()
    assert run_sweep(monkeypatch, path, "--parallel", 2) == 0
    assert "started" not in capfd.readouterr().out


def test_results_outlive_the_weights_and_a_teacher_without_weights_is_trained_again(
    recipe, tmp_path, monkeypatch, capfd
):
    runs = {"b0": {"stage": "teacher"}, "kd": {}}
    kept = tmp_path / "results"
    settings = {"flags": SMALL, "teacher": "b0", "score": "val", "results": str(kept)}
    path = recipe(runs, **settings)
    assert run_sweep(monkeypatch, path, "--only", "b0") == 0
    study = read_study(path)
    before = outcomes(study)
    assert sorted(file.name for file in (kept / "b0" / "seed0").iterdir()) == [
        "args.yaml", COUNTS, "log.csv", SCORES, "training.json"
    ]  # fmt: skip
    assert json.loads((kept / "b0" / "seed0" / "training.json").read_text())["processes"] == 1
    shutil.rmtree(tmp_path / "runs")
    assert outcomes(study) == before and before[0].hours > 0
    assert to_train(study, study.runs["b0"]) == []
    assert [job.run for job in to_train(study, study.runs["kd"])] == ["b0", "kd"]
    # Weights that were saved before their training was interrupted teach nobody yet.
    teacher = study.runs["b0"][0].folder
    teacher.mkdir(parents=True)
    (teacher / "last.pth").touch()
    assert [job.run for job in to_train(study, study.runs["kd"])] == ["b0", "kd"]
    shutil.rmtree(tmp_path / "runs")
    capfd.readouterr()
    assert run_sweep(monkeypatch, path, "--plan") == 0
    first, *plan = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"2 of 2 runs are left, time left: [\d:]+", first)
    missing = "it has scores but no weights here, and others learn from it"
    assert plan == [f"b0, seed 0: 0 of 2 steps; {missing}", "kd, seed 0: 0 of 2 steps"]
    assert run_sweep(monkeypatch, path) == 0
    started = [line for line in capfd.readouterr().out.splitlines() if "started" in line]
    assert started == ["started: b0, seed 0", "started: kd, seed 0"]


def test_scores_of_other_settings_than_the_recipe_s_are_refused(recipe, tmp_path):
    (tmp_path / "shared.yaml").write_text("{lr: 0.1, num-workers: 1}")
    runs = {"none": {"stage": "student", "max-steps": 100, "pretrained": "fields"}}
    settings = {"config": str(tmp_path / "shared.yaml"), "results": str(tmp_path / "kept")}
    study = read_study(recipe(runs, score="val", **settings))
    (job,) = study.jobs
    assert job.settings["max_steps"] == 100 and job.settings["lr"] == 0.1
    check_settings(study)  # nothing has ended
    job.results.mkdir(parents=True)
    (job.results / SCORES).write_text('{"subset": "val"}')
    check_settings(study)  # a record from before settings were kept
    trained = {**job.settings, "datadir": "/elsewhere", "num_workers": 8, "savedir": "other"}
    (job.results / "args.yaml").write_text(yaml.safe_dump(trained))
    check_settings(study)
    for changed, message in (
        ({"max-steps": 200}, "args.yaml: trained with max-steps 100, and .*study.yaml says 200"),
        (
            {"lr": 0.2},
            f"lr 0.1, and .* says 0.2: give the run another name, or remove {job.results}",
        ),
        ({"pretrained": False}, "trained with pretrained fields, and .* says none"),
        ({"ema": 0.9}, "trained with ema none, and .* says 0.9"),
    ):
        other = {"none": {**runs["none"], **changed}}
        with pytest.raises(ValueError, match=message):
            check_settings(read_study(recipe(other, score="val", **settings)))
        # Another process may have trained it since that check.
        with pytest.raises(ValueError, match=message):
            sweep.write_tables(read_study(tmp_path / "study.yaml"), tmp_path / "table.md")
        assert not (tmp_path / "table.md").exists()
    with pytest.raises(ValueError, match="scores.json: scored on val, and .*study.yaml says test"):
        check_settings(read_study(recipe(runs, score="test", **settings)))


def test_what_needs_a_failed_run_is_left_out_and_the_rest_goes_on(
    recipe, tmp_path, monkeypatch, capfd
):
    runs = {"b1": {"stage": "teacher", "datadir": "nowhere", "dataset": "VOC"}, "kd": {}}
    path = recipe(runs, flags=SMALL, teacher="b1")
    assert run_sweep(monkeypatch, path) == 1
    lines = capfd.readouterr().out
    assert "failed with status 2: b1, seed 0: train_teacher.py: error: " in lines
    assert "left out: kd, seed 0: no weights of its teacher b1, seed 0\n" in lines


TRAINING = """
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    pathlib.Path("saved").write_text(str(os.getpgrp()))
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
pathlib.Path("ready").touch()
time.sleep(60)
"""


LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "training.py"]))
"""


@pytest.fixture
def heard():
    """Signals as in a terminal, also where the tests run under nohup or in the background."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("number", "program"),
    [
        (signal.SIGINT, "training.py"),
        (signal.SIGHUP, "training.py"),
        (signal.SIGINT, "launcher.py"),  # which hands no signal on
    ],
)
def test_who_stops_a_study_stops_its_runs_and_they_save(
    recipe, tmp_path, monkeypatch, number, program
):
    monkeypatch.chdir(tmp_path)
    Path("training.py").write_text(TRAINING)
    Path("launcher.py").write_text(LAUNCHER)
    study = read_study(recipe({"none": {"stage": "student"}, "more": {"stage": "student"}}))
    told: list[str] = []
    queue = Queue(study, study.jobs, 1, f"{sys.executable} {program}", told.append)

    def stop():
        while not Path("ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop).start()
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert told == ["started: none, seed 0"]
    # Of a group of its own: the Ctrl-C of a terminal goes to a whole group, and would end it twice.
    assert int(Path("saved").read_text()) != os.getpgrp()
    assert signal.getsignal(signal.SIGHUP) is before


HOLDER = """
import pathlib, sys
from train.folder_lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("held", ["seed0.study", "seed0"])  # by a study; by a training of its own
def test_what_another_process_trains_is_waited_for(recipe, tmp_path, monkeypatch, held, ended):
    monkeypatch.setattr(job_queue, "WATCH", 0.1)
    (tmp_path / "fails.py").write_text("raise SystemExit(3)")
    study = read_study(recipe({"one": {"stage": "student"}, "two": {"stage": "student"}}))
    one = study.jobs[0]
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(one.folder.with_name(held))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(job_queue.SCRIPTS.parent)},
    )  # fmt: skip
    assert other.stdout.readline() == "held\n"
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line.split(" (")[0].replace(str(other.pid), "PID"))
        if line.startswith("failed") and other.poll() is None:
            if ended:
                one.folder.mkdir(parents=True)
                (one.folder / SCORES).touch()
                (one.folder / "results.json").touch()
            other.communicate()

    queue = Queue(study, study.jobs, 1, f"{sys.executable} {tmp_path / 'fails.py'}", tell)
    queue.run()
    in_use = f"in use elsewhere: one, seed 0: process PID on {socket.gethostname()}"
    assert told[:2] == [in_use, "started: two, seed 0"]
    assert told[2].startswith("failed with status 3: two, seed 0")
    if ended:
        assert told[3:] == ["ended: one, seed 0"]
    else:
        assert told[3] == "started: one, seed 0"
        assert told[4].startswith("failed with status 3: one, seed 0")
    assert [job.run for job in queue.failed] == (["two"] if ended else ["two", "one"])


def record(job, folder, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.yaml").write_text(yaml.safe_dump({**job.settings, **changed}))


def test_a_flag_that_has_left_the_recipe_is_missed(recipe):
    runs = {"kd": {"teacher": "t.pth", "kd-weight": 0.5}}
    (job,) = read_study(recipe(runs)).jobs
    write_result(job, np.ones((2, 2, 1), int))
    record(job, job.results)
    check_settings(read_study(recipe({"kd": {"teacher": "t.pth", "kd-weight": 0.5, "port": 9}})))
    with pytest.raises(ValueError, match="trained with kd-weight 0.5, and .* says 1"):
        check_settings(read_study(recipe({"kd": {"teacher": "t.pth"}})))


def test_a_run_is_not_continued_with_other_settings(recipe):
    runs = {"kd": {"teacher": "t.pth", "kd-weight": 0.5}}
    (job,) = read_study(recipe(runs)).jobs
    record(job, job.folder)
    check_settings(read_study(recipe(runs)))
    runs["kd"]["kd-weight"] = 0.9
    with pytest.raises(ValueError, match=f"{job.folder}/args.yaml: trained with kd-weight 0.5"):
        check_settings(read_study(recipe(runs)))


def test_a_run_has_the_teacher_that_it_was_trained_with(recipe):
    runs = {"big": {"stage": "teacher"}, "small": {"stage": "teacher"}, "kd": {"teacher": "big"}}
    *_, job = read_study(recipe(runs)).jobs
    write_result(job, np.ones((2, 2, 1), int))
    for teacher in ("elsewhere/big/seed0/last.pth", ["elsewhere/big/seed0/last.pth"]):
        record(job, job.results, teacher=teacher)
        check_settings(read_study(recipe(runs)))
        with pytest.raises(ValueError, match="trained with teacher big/seed0, .* small/seed0"):
            check_settings(read_study(recipe({**runs, "kd": {"teacher": "small"}})))


def test_hours_are_those_of_all_processes_together(recipe):
    (job,) = read_study(recipe({"none": {"stage": "student"}}, flags=SMALL)).jobs
    job.folder.mkdir(parents=True)
    (job.folder / "log.csv").write_text("step,images_per_second\n2,8\n")
    assert seconds_per_step(job) == 2 / 8
    (job.folder / "results.json").write_text('{"processes": 4}')
    assert seconds_per_step(job) == 4 * 2 / 8


def test_no_time_is_told_where_epochs_end_a_run(recipe):
    runs = {"kd": {"stage": "student"}, "at": {"stage": "student", "max-steps": 10}}
    study = read_study(recipe(runs, flags={"batch-size": 2}))
    for job in study.jobs:
        job.folder.mkdir(parents=True)
        (job.folder / "log.csv").write_text("step,images_per_second\n4,4\n")
    assert seconds_left(study, study.jobs[1:], parallel=1) == 3
    assert seconds_left(study, study.jobs, parallel=1) is None


def test_images_that_are_void_all_over_do_not_spoil_the_interval(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    study = read_study(recipe(runs, baseline="none", seeds=[0, 1]))
    scored = np.array([[[300], [1000]], [[500], [1000]]])
    for job, gain in zip(study.jobs, (0, 10, 40, 60), strict=True):
        counts = scored + [[[gain], [0]]]
        write_result(job, np.concatenate((counts, np.zeros((2, 2, 1), int))))
    pairs = list(zip(study.runs["kd"], study.runs["none"], strict=True))
    groups = [[(kd, 1.0), (none, -1.0)] for kd, none in pairs]
    with_void = bootstrap(groups)
    for job, gain in zip(study.jobs, (0, 10, 40, 60), strict=True):
        write_result(job, scored + [[[gain], [0]]])
    assert with_void == bootstrap(groups)
    assert np.isfinite(with_void[1]).all()


@pytest.mark.parametrize("name", ["study.json", "study.png"])
def test_the_table_is_not_overwritten_by_what_is_written_beside_it(
    name, recipe, tmp_path, monkeypatch
):
    path = recipe({"none": {"stage": "student"}})
    with pytest.raises(ValueError, match=f"--output .*{name}: names the Markdown file"):
        run_sweep(monkeypatch, path, "--output", tmp_path / name, "--plan")


def test_time_left_follows_the_pace_of_runs_of_the_kind(recipe):
    """Batches of two: 4 and 1 images a second are 0.5 and 2 seconds per step."""
    runs = {"kd": {"stage": "student"}, "at": {"stage": "student"}, "cwd": {"stage": "student"}}
    settings = {**SMALL, "max-steps": 10}
    study = read_study(recipe(runs, seeds=[0, 1], flags=settings))
    assert seconds_left(study, study.jobs, parallel=1) is None
    for job, step, rate in ((study.jobs[0], 4, 4.0), (study.jobs[2], 10, 1.0)):
        job.folder.mkdir(parents=True)
        (job.folder / "log.csv").write_text(f"step,images_per_second\n{step},{rate}\n")
    kd, at, cwd = 0.5 * (6 + 10), 2 * (0 + 10), 1.25 * (10 + 10)
    assert seconds_left(study, study.jobs, parallel=1) == kd + at + cwd
    assert seconds_left(study, study.jobs, parallel=2) == (kd + at + cwd) / 2


def test_only_runs_what_is_named_and_its_teacher(recipe):
    runs = {"b1": {"stage": "teacher"}, "none": {"stage": "student"}, "kd": {}, "at": {}}
    study = read_study(recipe(runs, teacher="b1"))
    assert [job.run for job in sweep.chosen(study, ["at"])] == ["b1", "at"]
    with pytest.raises(ValueError, match="--only att: no run of .*; runs: b1, none, kd, at"):
        sweep.chosen(study, ["att"])


def test_a_list_of_teachers_is_all_seeds_of_its_runs(recipe):
    runs = {
        "b1": {"stage": "teacher", "seeds": [7]},
        "none": {"stage": "student"},
        "kd": {"teacher": ["other.pth", "b1", "none"], "seeds": [0]},
        "at": {"seeds": [1]},
    }
    study = read_study(recipe(runs, teacher="none", seeds=[0, 1]))
    kd, at = study.runs["kd"][0], study.runs["at"][0]
    teachers = [*study.runs["b1"], *study.runs["none"]]
    start = kd.words.index("--teacher") + 1
    files = [str(job.folder / "last.pth") for job in teachers]
    assert kd.words[start : start + 4] == ("other.pth", *files)
    assert at.teachers == (study.runs["none"][0].folder,)
    assert sweep.chosen(study, ["kd"]) == [*teachers, kd]
    assert sweep.chosen(study, ["at"]) == [study.runs["none"][0], at]


def test_only_runs_the_teachers_of_a_teacher_too(recipe):
    runs = {
        "b1": {"stage": "teacher"},
        "kd": {"teacher": "b1"},
        "cwd": {"teacher": "kd"},
        "at": {"teacher": "b1"},
    }
    study = read_study(recipe(runs))
    assert [job.run for job in sweep.chosen(study, ["cwd"])] == ["b1", "kd", "cwd"]


def write_result(job: Job, counts: np.ndarray) -> None:
    """Stand-in for a scored run; counts (images, 2, K)."""
    job.folder.mkdir(parents=True, exist_ok=True)
    classes = [f"c{index}" for index in range(counts.shape[2])]
    lines = [
        "image,miou," + ",".join(f"{c} {what}" for what in ("common", "union") for c in classes)
    ]
    lines += [f"i{n},0," + ",".join(map(str, row.reshape(-1))) for n, row in enumerate(counts)]
    (job.folder / COUNTS).write_text("\n".join(lines) + "\n")
    common, union = counts.sum(0)
    iou = (common / union).tolist()
    result = {"miou": float(np.mean(iou)), "per_class": dict(zip(classes, iou, strict=True))}
    (job.folder / SCORES).write_text(json.dumps(result))


def test_the_difference_is_paired_over_seeds_and_images(recipe):
    study = read_study(
        recipe(
            {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}},
            seeds=[0, 1],
            baseline="none",
        )
    )
    # Each image and seed has its own level; the distilled run is always 10 points above.
    for job in study.jobs:
        gain = 100 if job.run == "kd" else 0
        levels = np.array([200, 500, 800]) + 50 * job.seed + gain
        write_result(job, np.stack([levels, np.full(3, 1000)], axis=1)[:, :, None])
    none, kd = outcomes(study)
    assert none.scores == pytest.approx((50, 55)) and kd.mean == pytest.approx(62.5)
    assert none.difference is None
    # What is common to both runs is no uncertainty of their difference.
    assert kd.difference == pytest.approx(10) and kd.interval == pytest.approx((10, 10))
    assert kd.spread == pytest.approx(5 / 2**0.5)


@pytest.mark.parametrize(
    "gains, difference, interval",
    [
        ([80], 8, None),  # what the next seed gains, nobody knows
        ([80, 120], 10, (10 - 2 * 2**0.5, 10 + 2 * 2**0.5)),  # one draw in four is seed 0 twice
    ],
)
def test_the_interval_knows_how_few_seeds_there_are(gains, difference, interval, recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    study = read_study(recipe(runs, seeds=list(range(len(gains))), baseline="none"))
    for job in study.jobs:
        gain = gains[job.seed] if job.run == "kd" else 0
        levels = np.array([200, 500, 800]) + gain
        write_result(job, np.stack([levels, np.full(3, 1000)], axis=1)[:, :, None])
    _, kd = outcomes(study)
    assert kd.difference == pytest.approx(difference)
    assert kd.interval == (interval and pytest.approx(interval))


def test_the_command_line_of_a_row_is_that_of_a_seed_that_was_trained(recipe):
    study = read_study(recipe({"none": {"stage": "student"}}, seeds=[0, 1, 2]))
    for job in study.jobs[1:]:
        write_result(job, np.full((3, 2, 1), 500))
    (row,) = as_json(study, outcomes(study), {})["runs"]
    assert row["seeds"] == (1, 2)
    assert row["flags"] == list(study.jobs[1].words) and "--seed=1" in row["flags"]


def test_a_run_may_be_compared_with_a_baseline_of_its_own(recipe):
    few, many = ({"stage": "student", "limit-train": number} for number in (5, 10))
    runs = {"none": few, "kd": {"teacher": "t.pth"}, "long": many,
            "kd-long": {"method": "kd", "teacher": "t.pth", "baseline": "long"}}  # fmt: skip
    study = read_study(recipe(runs, baseline="none"))
    for job, common in zip(study.jobs, (300, 400, 500, 550), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
    found = {one.run: one.difference for one in outcomes(study)}
    expected = {"none": None, "kd": pytest.approx(10), "long": pytest.approx(20)}
    assert found == {**expected, "kd-long": pytest.approx(5)}
    text = table(study, outcomes(study))
    assert "| none: +10.00 |" in text and "| long: +5.00 |" in text


def test_a_baseline_with_the_same_grid_is_compared_value_by_value(recipe):
    grid = {"limit-train": [5, 10]}
    runs = {
        "none": {"stage": "student", "grid": grid},
        "kd": {"teacher": "t.pth", "grid": grid, "baseline": "none"},
        "at": {"teacher": "t.pth", "baseline": "none limit-train=10"},
    }
    study = read_study(recipe(runs))
    assert study.axis == "limit-train"
    for job, common in zip(study.jobs, (300, 400, 350, 500, 400), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
    found = {one.run: one.difference for one in outcomes(study)}
    assert found["kd limit-train=5"] == pytest.approx(5)
    assert found["kd limit-train=10"] == pytest.approx(10)
    assert found["at"] == pytest.approx(0)


def test_a_run_is_compared_with_the_baseline_trained_as_long(recipe, tmp_path, monkeypatch):
    """Baseline: 30 % after 2 hours, 50 % after 8; half way on the logarithm, 4 hours, 40 %."""
    student = {"stage": "student", "max-steps": 7200}
    taught = {"method": "kd", "teacher": "t.pth", "max-steps": 7200}
    runs = {
        "none": student,
        "long": {**student, "max-steps": 28800},
        "other": {**student, "lr": 0.1, "max-steps": 28800},
        "b1": {**student, "stage": "teacher"},
        "kd": taught,
        "slow": {**taught, "method": "at"},
        "fast": {**taught, "method": "cwd"},
        "elsewhere": {**taught, "baseline": "other"},
        "by epochs": {"method": "dist", "teacher": "t.pth"},
    }
    study = read_study(recipe(runs, baseline="none", flags={"batch-size": 1}))
    measured = [
        (300, 1), (500, 1), (900, 1), (900, 1), (450, 0.5), (450, 0.1), (450, 2), (450, 0.5),
        (450, 0.5),
    ]  # fmt: skip
    for job, (common, pace) in zip(study.jobs, measured, strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    found = outcomes(study)
    gains = {one.run: one.at_equal_hours for one in found if one.at_equal_hours is not None}
    assert gains == {
        "other": pytest.approx(40),
        "b1": pytest.approx(60),
        "kd": pytest.approx(5),
    }
    assert math.isnan(found[-1].hours)
    assert "| 95 % interval | at equal hours |" in table(study, found)
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot(study, found, tmp_path / "plot.png")
    cost, differences = pyplot.gcf().axes
    assert [[2, 30], [8, 50]] in [line.get_xydata().round(6).tolist() for line in cost.get_lines()]
    labels = [label.get_text() for label in differences.get_yticklabels()]
    assert labels[0] == "elsewhere - other" and labels[-1] in ("other - none", "b1 - none")
    pyplot.close("all")


def test_teachers_are_told_with_their_hours_and_scores(recipe, tmp_path, monkeypatch):
    runs = {
        "teacher": {"stage": "teacher", "seeds": [0]},
        "none": {"stage": "student"},
        "taught": {"method": "kd", "teacher": "teacher"},
        "alone": {"method": "kd", "teacher": "t.pth"},
        "mean": {"method": "kd", "teacher": ["none"]},
        "chain": {"method": "kd", "teacher": ["taught"]},
    }
    flags = {"batch-size": 1, "max-steps": 3600}
    study = read_study(recipe(runs, baseline="none", flags=flags, seeds=[0, 1]))
    hours = {"teacher": 4, "none": 1, "taught": 2, "alone": 2, "mean": 2, "chain": 2}
    for job in study.jobs:
        common = 600 if job.run == "teacher" else 500 + 10 * job.seed
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        (job.folder / "log.csv").write_text(f"step,images_per_second\n3600,{1 / hours[job.run]}\n")
    found = outcomes(study)
    of_teachers = {one.run: one.teacher_hours for one in found}
    # Both seeds of `taught` learnt from one teacher, which was trained once.
    assert of_teachers == pytest.approx(
        {"teacher": 0, "none": 0, "taught": 4, "alone": 0, "mean": 2, "chain": 8}
    )
    text = table(study, found)
    assert "| hours | teacher hours | mIoU |" in text
    assert "| taught | 2 | 3600 | 2.00 | 4.00 |" in text
    assert "| none | 2 | 3600 | 1.00 | - |" in text
    scores = {one.run: one.teacher_score for one in found if one.teacher_score is not None}
    assert scores == pytest.approx({"taught": 60, "mean": 50.5, "chain": 50.5})
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot(study, found, tmp_path / "plot.png")
    *_, by_teacher = pyplot.gcf().axes
    assert by_teacher.get_xlabel() == "mIoU of the teacher, %"
    places = {line.get_label(): line.get_xdata()[0] for line in by_teacher.get_lines()}
    assert scores.items() <= places.items()
    pyplot.close("all")


def test_equal_hours_are_over_the_seeds_that_all_share(recipe):
    """Seed 0: the baseline 30 and 50 %, kd 45 half way. Seeds that one alone has do not count.

    Nor does a length that is not beside the run's hours.
    """
    student = {"stage": "student", "max-steps": 7200}
    runs = {
        "none": {**student, "seeds": [0, 1]},
        "long": {**student, "max-steps": 28800, "seeds": [0]},
        "longest": {**student, "max-steps": 115200, "seeds": [1]},
        "kd": {"teacher": "t.pth", "max-steps": 7200, "seeds": [0, 2]},
        "at": {"teacher": "t.pth", "max-steps": 7200, "seeds": [2]},
    }
    study = read_study(recipe(runs, baseline="none", flags={"batch-size": 1}))
    for job, common in zip(study.jobs, (300, 900, 500, 990, 450, 900, 900), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        pace = 1 if job.stage == "student" else 0.5
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    *_, kd, at = outcomes(study)
    assert kd.at_equal_hours == pytest.approx(5) and at.at_equal_hours is None
    assert kd.at_equal_hours_interval is None  # of one seed


def test_the_interval_at_equal_hours_is_that_of_a_baseline_between_two_lengths(recipe):
    """All images are alike, so the interval is over the two seeds: gains of 5 and 15 points."""
    student = {"stage": "student"}
    runs = {
        "none": {**student, "max-steps": 7200},
        "long": {**student, "max-steps": 28800},
        "kd": {"teacher": "t.pth", "max-steps": 7200},
    }
    settings = {"baseline": "none", "flags": {"batch-size": 1}, "seeds": [0, 1]}
    study = read_study(recipe(runs, **settings))
    for job, common in zip(study.jobs, (300, 300, 500, 500, 450, 550), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
        pace = 1 if job.stage == "student" else 0.5  # kd lasts as long as half way, on a log scale
        (job.folder / "log.csv").write_text(f"step,images_per_second\n7200,{pace}\n")
    *_, kd = found = outcomes(study)
    assert kd.at_equal_hours == pytest.approx(10)
    low, high = kd.at_equal_hours_interval
    # Both seeds alike are drawn often: the ends are the gains, enlarged by sqrt(2) about the mean.
    assert (low, high) == pytest.approx((10 - 5 * math.sqrt(2), 10 + 5 * math.sqrt(2)))
    assert "| +10.00 (+2.93 to +17.07) |" in table(study, found)
    described = as_json(study, found, {})["runs"][-1]
    assert described["at_equal_hours_interval"] == (low, high)


@pytest.mark.parametrize(
    ("grids", "axis"),
    [
        ([{"lr": [1e-3, 1e-4]}, {}], "lr"),
        ([{"lr": [1e-3, 1e-4]}, {"lr": [1e-2]}], "lr"),
        ([{"lr": [1e-3, 1e-4], "limit-train": [5]}], None),
        ([{"lr": [1e-3, 1e-4]}, {"limit-train": [5, 10]}], None),
        ([{"lr": [1e-3]}], None),
        ([{"loss": ["ce", "ce+jaccard"]}], None),
        ([{"sync-bn": [False, True]}], None),
        ([{}], None),
    ],
)
def test_a_plot_is_over_the_one_number_in_which_runs_differ(recipe, grids, axis):
    runs = {f"run {n}": {"stage": "student", "grid": grid} for n, grid in enumerate(grids)}
    assert read_study(recipe(runs)).axis == axis


def test_the_plot_of_a_grid_has_a_line_per_family(recipe, tmp_path, monkeypatch):
    grid = {"limit-train": [10, 5]}
    runs = {
        "none": {"stage": "student", "grid": grid},
        "kd": {"teacher": "t.pth", "grid": grid},
        "all": {"stage": "student"},
    }
    study = read_study(recipe(runs))
    for job, common in zip(study.jobs, (400, 300, 500, 350, 600), strict=True):
        write_result(job, np.full((2, 2, 1), [[common], [1000]]))
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    beginning = [one for one in outcomes(study) if one.run == "all"]
    plot(study, beginning, tmp_path / "plot.png")  # by cost: no run of a grid has ended
    assert pyplot.gcf().axes[0].get_xlabel() == "hours of training"
    plot(study, outcomes(study), tmp_path / "plot.png")
    (axes,) = pyplot.gcf().axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert lines["none"] == [[5, pytest.approx(30)], [10, pytest.approx(40)]]
    assert lines["kd"] == [[5, pytest.approx(35)], [10, pytest.approx(50)]]
    assert axes.get_xlabel() == "--limit-train" and "all" in [t.get_text() for t in axes.texts]
    pyplot.close("all")


def test_runs_that_were_scored_on_other_images_are_not_compared(recipe):
    runs = {"none": {"stage": "student"}, "kd": {"teacher": "t.pth"}}
    first, second = read_study(recipe(runs)).jobs
    write_result(first, np.ones((2, 2, 1), int))
    write_result(second, np.ones((3, 2, 1), int))
    with pytest.raises(ValueError, match="were scored on different images"):
        bootstrap([[(second, 1.0), (first, -1.0)]])
