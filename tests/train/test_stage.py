"""Whole runs of the three scripts on a tiny data set, in this process."""

import csv
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import train.networks
from models import load_checkpoint, shipped
from train.checkpoint import Keeper, Progress
from train.resuming import CUT_BY, check_same_batches
from train.tasks import SupervisedTask


def test_a_run_leaves_what_was_promised(run_stage, runs, load):
    assert run_stage("student", "--iouTrain") == 0
    folder = runs / "student-SegformerB0-VOC"
    names = {path.name for path in folder.iterdir()}
    assert {"best.pth", "last.pth", "log.csv", "args.yaml", "pictures"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert len(list((folder / "pictures").glob("*.png"))) == 2
    rows = list(csv.DictReader((folder / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for column in ("loss", "miou", "train_miou", "iou_crop", "lr", "data_waiting"):
        assert float(rows[0][column]) >= 0
    assert yaml.safe_load((folder / "args.yaml").read_text())["stage"] == "student"


def test_own_data_that_looks_wrong_is_noted(run_stage, write_voc, tmp_path, capsys):
    root = write_voc(tmp_path / "fields")
    for path in (root / "SegmentationClass").iterdir():
        Image.fromarray((np.array(Image.open(path)) % 2).astype(np.uint8)).save(path)
    run_stage("student", "--max-steps", "1", data=root)
    told = capsys.readouterr().err
    assert "note: no pixel of weed in train" in told and "prepare.py check" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ids: (ids > 0) * 255, "train: labels hold only 0 and 255"),
        (lambda ids: ids * 0 + 255, "train: no pixel of any class: all labels are 255"),
    ],
)
def test_own_data_without_a_class_to_learn_is_refused(
    run_stage, runs, write_voc, tmp_path, capsys, change, told
):
    root = write_voc(tmp_path / "fields")
    for path in (root / "SegmentationClass").iterdir():
        Image.fromarray(change(np.array(Image.open(path))).astype(np.uint8)).save(path)
    assert run_stage("student", "--max-steps", "1", data=root) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not list(runs.rglob("*.pth"))


def test_best_describes_itself_and_is_the_bare_network(run_stage, runs):
    assert run_stage("student", "--seed", "3") == 0
    network, info = load_checkpoint(runs / "student-SegformerB0-VOC" / "best.pth")
    assert network.name == "SegformerB0"
    assert info["classes"] == ["soil", "crop", "weed"]
    assert (info["dataset"], info["seed"], info["ignore_index"]) == ("VOC", 3, 255)
    assert info["preprocessing"]["image_size"] == 32
    assert 0 <= info["metrics"]["miou"] <= 1
    assert info["args"]["batch_size"] == 2
    assert "torch" in info["versions"]
    assert info["training"] is None and info["adapters"] is None


@pytest.fixture
def teacher(run_stage, runs):
    assert run_stage("teacher", "--num-epochs", "1") == 0
    return runs / "teacher-SegformerB3-VOC" / "best.pth"


def test_distillation_finds_the_teacher_and_deploys_a_bare_student(
    run_stage, runs, teacher, capsys, load
):
    assert run_stage("sekd", "--method", "sekd-ct+kd") == 0
    printed = capsys.readouterr().out
    assert f"teacher: {teacher}" in printed and "teacher's mIoU: 0." in printed
    folder = runs / "sekd-SegformerB0-VOC-sekd-ct+kd"
    best, last = load(folder / "best.pth"), load(folder / "last.pth")
    assert set(best["model"]) == set(load(teacher)["model"])  # same tiny network, nothing else
    assert not best.get("adapters") and last["adapters"]
    assert best["method"] == "sekd-ct+kd"
    bare = sum(value.numel() for value in best["model"].values())
    assert best["training_cost"]["params"] > bare and best["training_cost"]["flops"] > 0
    header = next(csv.reader((folder / "log.csv").open()))
    assert {"cross_entropy", "texture", "relation", "kd"} <= set(header)


def test_without_a_teacher_the_remedy_is_named(run_stage, runs, capsys):
    assert run_stage("sekd") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--teacher" in error and "train_teacher.py" in error
    assert not runs.exists()


def test_a_teacher_precision_that_is_not_to_be_had(run_stage, runs, teacher, capsys):
    assert run_stage("sekd", "--teacher", teacher, "--teacher-amp", "fp16") == 2
    assert "--teacher-amp fp16 needs a GPU" in capsys.readouterr().err
    assert not (runs / "sekd-SegformerB0-VOC-sekd-ct").exists()


def test_what_was_chosen_for_the_device_is_printed(run_stage, capsys):
    assert run_stage("student", "--num-epochs", "1", "--tf32") == 0
    assert torch.get_float32_matmul_precision() == "high"
    assert "device: cpu, float32, eager, fused AdamW" in capsys.readouterr().out
    assert run_stage("student", "--num-epochs", "1", "--amp", "bf16", "--overwrite") == 0
    assert torch.get_float32_matmul_precision() == "highest"
    assert "device: cpu, bf16 mixed precision, eager" in capsys.readouterr().out


def test_method_none_needs_no_teacher(run_stage, runs):
    assert run_stage("sekd", "--method", "none", "--num-epochs", "1") == 0
    assert (runs / "sekd-SegformerB0-VOC-none" / "best.pth").exists()


RESUMED = {
    "student": ["--num-workers", "1"],
    "student at an epoch's end": [],
    "student with average": ["--ema", "0.9", "--cutmix", "0.5", "--copy-paste", "0.5"],
    "sekd with memories": ["--method", "cirkd", "--kd-warmup", "6"],
    "sekd with unlabelled": ["--unlabelled", "FOLDER", "--copy-paste", "0.5"],
    "sekd": ["--method", "sekd-su", "--accumulate", "2", "--clip-grad", "1", "--warmup-steps", "1"],
    "sekd taught at first": ["--kd-steps", "5"],
    "sekd with cached answers": ["--kd-cache", "--method", "kd+jml", "--limit-train", "5"],
}


INTERRUPTED = {
    "student": (4, 1),
    "student at an epoch's end": (6, 0),
    "student with average": (4, 1),
    "sekd with memories": (4, 1),
    "sekd with unlabelled": (8, 2),
    "sekd": (3, 2),
    "sekd taught at first": (4, 1),
    "sekd with cached answers": (3, 1),
}


@pytest.fixture
def photographs(write_voc, tmp_path):
    """A folder of five photographs."""
    return write_voc(tmp_path / "more", train=4, val=1, seed=5) / "JPEGImages"


def test_unlabelled_photographs_are_trained_on_beside_the_labelled(
    run_stage, photographs, teacher, capsys, voc, load, runs
):
    flags = ("--teacher", teacher, "--batch-size", "4", "--num-epochs", "1", "--overwrite")
    assert run_stage("sekd", *flags, "--unlabelled", photographs, "--unlabelled-share", 0.25) == 0
    printed = capsys.readouterr().out
    assert "unlabelled: 5 images, 1 of 4 per batch" in printed
    assert "epoch 1/1  step 2/2" in printed  # 6 labelled images, three of them per batch
    assert run_stage("sekd", *flags, "--limit-train", 4, "--unlabelled", "rest") == 0
    assert "unlabelled: 2 images, 2 of 4 per batch" in capsys.readouterr().out
    saved = load(runs / "sekd-SegformerB0-VOC-sekd-ct" / "last.pth")["args"]
    assert saved["unlabelled"] == "rest"
    assert run_stage("sekd", *flags, "--unlabelled", voc / "JPEGImages") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "which the run is validated or tested on" in error


@pytest.mark.parametrize("case", RESUMED)
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(
    case, run_stage, runs, load, interrupt_after, assert_same, request
):
    stage, flags = case.split()[0], [*RESUMED[case], "--num-epochs", "3"]
    step, batch = INTERRUPTED[case]
    if stage == "sekd":
        flags += ["--teacher", str(request.getfixturevalue("teacher"))]
    if "FOLDER" in flags:
        flags[flags.index("FOLDER")] = str(request.getfixturevalue("photographs"))
    assert run_stage(stage, *flags, "--run-name", "whole") == 0
    interrupt_after(step)
    assert run_stage(stage, *flags, "--run-name", "parts") == 130
    assert load(runs / "parts" / "last.pth")["training"]["progress"]["batch"] == batch
    assert run_stage(stage, *flags, "--run-name", "parts", "--resume") == 0
    whole, parts = load(runs / "whole" / "last.pth"), load(runs / "parts" / "last.pth")
    for key in ("model", "adapters", "training", "metrics"):
        assert_same(whole[key], parts[key], key)
    whole, parts = load(runs / "whole" / "best.pth"), load(runs / "parts" / "best.pth")
    assert_same(whole["model"], parts["model"])
    epochs = [row["epoch"] for row in csv.DictReader((runs / "parts" / "log.csv").open())]
    assert epochs == ["1", "2", "3"]


@pytest.mark.parametrize("workers", [0, 1])
def test_images_kept_in_memory_train_the_same_weights(workers, run_stage, runs, load, assert_same):
    flags = ("--num-workers", workers, "--limit-train", 5)
    for name, cache in (("read", "none"), ("kept", "ram")):
        assert run_stage("student", *flags, "--run-name", name, "--cache", cache) == 0
    read, kept = load(runs / "read" / "last.pth"), load(runs / "kept" / "last.pth")
    assert_same(read["model"], kept["model"])
    assert_same(read["metrics"], kept["metrics"])


def test_resume_from_a_file_and_of_a_finished_run(run_stage, runs):
    assert run_stage("student", "--num-epochs", "1") == 0
    last = runs / "student-SegformerB0-VOC" / "last.pth"
    before = last.stat().st_mtime_ns
    assert run_stage("student", "--num-epochs", "1", "--resume", last) == 0
    assert last.stat().st_mtime_ns == before


@pytest.mark.parametrize("path", ["last.pth", "./last.pth", ".", "pictures/.."])
def test_resume_from_inside_the_run_folder(path, run_stage, runs, load, monkeypatch):
    assert run_stage("student", "--max-steps", "1") == 0
    folder = runs / "student-SegformerB0-VOC"
    monkeypatch.chdir(folder)
    assert run_stage("student", "--max-steps", "2", "--resume", path) == 0
    assert load(folder / "last.pth")["training"]["progress"]["step"] == 2
    assert [each.name for each in runs.iterdir()] == [folder.name]  # no lock is left


def test_a_run_may_end_within_an_epoch(run_stage, runs, load):
    assert run_stage("student", "--max-steps", "4", "--epochs-save", "1") == 0
    folder = runs / "student-SegformerB0-VOC"
    progress = load(folder / "last.pth")["training"]["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (1, 1, 4)
    assert (folder / "best.pth").exists()
    assert load(folder / "epoch-0001.pth")["metrics"]["step"] == 3


def test_only_a_run_is_overwritten(run_stage, runs):
    (runs / "mine").mkdir(parents=True)
    (runs / "mine" / "notes.txt").write_text("keep")
    assert run_stage("student", "--max-steps", "1", "--run-name", "mine", "--overwrite") == 0
    assert (runs / "mine" / "notes.txt").exists()


def test_a_run_can_be_made_longer(run_stage, runs, load):
    assert run_stage("student", "--num-epochs", "1", "--warmup-steps", "0") == 0
    last = runs / "student-SegformerB0-VOC" / "last.pth"
    before = load(last)["model"]
    longer = ("--num-epochs", "2", "--warmup-steps", "0", "--lr", "0.01", "--resume", last)
    assert run_stage("student", *longer) == 0
    with (last.parent / "log.csv").open() as file:
        assert [float(row["lr"]) for row in csv.DictReader(file)] == [0, 0]
    assert any(not torch.equal(value, load(last)["model"][key]) for key, value in before.items())


def test_an_epoch_is_not_continued_with_other_batches(run_stage, interrupt_after, capsys):
    interrupt_after(2)
    assert run_stage("student") == 130
    assert run_stage("student", "--batch-size", "3", "--resume") == 2
    assert "--batch-size cannot change in the middle of an epoch" in capsys.readouterr().err


def test_a_run_stopped_before_its_next_validation_keeps_its_scores(
    run_stage, runs, interrupt_after, load
):
    last = runs / "student-SegformerB0-VOC" / "last.pth"
    interrupt_after(4)
    assert run_stage("student") == 130
    known = load(last)["metrics"]
    interrupt_after(5)
    assert run_stage("student", "--resume") == 130
    assert "miou" in known and load(last)["metrics"] == known


def test_an_epoch_is_not_continued_by_other_processes():
    with pytest.raises(ValueError, match=r"1 process\(es\).*go on with as many, not with 2"):
        check_same_batches({}, {}, Progress(processes=1, epoch=1, batch=2), Progress(processes=2))
    begun = Progress(processes=1, epoch=1, batch=0)
    flags = {"batch_size": 2, "accumulate": 1, "limit_train": None, "train_split": None, "seed": 0}
    check_same_batches({}, flags, begun, Progress(processes=2))
    assert begun.processes == 2


def write_list(root, names):
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(names))


@pytest.mark.parametrize("left", [2, 4])  # what is left of the epoch: nothing, and a batch
def test_an_epoch_is_not_continued_with_other_images(
    left, run_stage, runs, voc, tmp_path, interrupt_after, load, capsys
):
    data = shutil.copytree(voc, tmp_path / "data")
    names = [f"field{i:02d}" for i in range(6)]
    interrupt_after(1)
    assert run_stage("student", "--run-name", "r", data=data) == 130
    write_list(data, names[:left])
    assert run_stage("student", "--run-name", "r", "--resume", data=data) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"an epoch of 6 training images, and now there are {left}: bring back" in told
    write_list(data, [*names[1:], names[0]])
    assert run_stage("student", "--run-name", "r", "--resume", data=data) == 2
    assert "an epoch of other training images, or of" in capsys.readouterr().err.splitlines()[-1]
    write_list(data, names)
    interrupt_after(3)
    assert run_stage("student", "--run-name", "r", "--resume", data=data) == 130
    write_list(data, names[:left])  # between two epochs it may change
    longer = ("--num-epochs", "4", "--resume")
    assert run_stage("student", "--run-name", "r", *longer, data=data) == 0
    assert load(runs / "r" / "last.pth")["training"]["progress"]["images"] == left


def test_an_epoch_is_not_continued_with_fewer_unlabelled_images():
    flags = {name: None for name in CUT_BY}
    stopped = Progress(batch=1, images=6, unlabelled=5)
    with pytest.raises(ValueError, match="5 unlabelled images, and now there are 4"):
        check_same_batches(flags, flags, stopped, Progress(images=6, unlabelled=4))


def test_a_checkpoint_that_does_not_count_its_images_is_resumed(
    run_stage, runs, voc, tmp_path, interrupt_after, load
):
    data = shutil.copytree(voc, tmp_path / "data")
    interrupt_after(2)
    assert run_stage("student", "--run-name", "r", data=data) == 130
    last = runs / "r" / "last.pth"
    content = load(last)
    for name in ("images", "names", "unlabelled"):
        del content["training"]["progress"][name]
    torch.save(content, last)
    write_list(data, [f"field{i:02d}" for i in range(4)])  # nothing is left of the epoch
    assert run_stage("student", "--run-name", "r", "--resume", data=data) == 0
    assert load(last)["training"]["progress"]["images"] == 4


def test_what_is_saved_within_an_epoch_is_within_it(run_stage, monkeypatch):
    """After its last step an epoch has nothing left that could be resumed."""
    saved = []
    monkeypatch.setattr(Keeper, "due", True)
    monkeypatch.setattr(
        Keeper, "save_last", lambda keeper: saved.append(vars(keeper.state.progress).copy())
    )
    assert run_stage("student", "--num-epochs", "2", "--val-every", "10") == 0
    assert [(each["epoch"], each["batch"]) for each in saved] == [
        (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0),
    ]  # fmt: skip


def test_a_run_goes_on_with_its_own_method_alone(run_stage, runs, teacher, interrupt_after, capsys):
    flags = ("--teacher", teacher, "--run-name", "b0[lr=1]", "--num-epochs", "2")
    interrupt_after(4)
    assert run_stage("sekd", *flags, "--method", "kd") == 130
    arguments = (runs / "b0[lr=1]" / "args.yaml").read_text()
    assert run_stage("sekd", *flags, "--method", "cwd", "--resume") == 2
    assert "trained with --method kd, not cwd" in capsys.readouterr().err
    assert (runs / "b0[lr=1]" / "args.yaml").read_text() == arguments
    assert run_stage("sekd", *flags, "--method", "kd", "--resume") == 0


def test_an_epoch_that_was_not_validated_has_no_scores(run_stage, runs, load):
    flags = ("--num-epochs", "3", "--val-every", "2", "--epochs-save", "1")
    assert run_stage("student", *flags) == 0
    known = [load(path)["metrics"].get("epoch") for path in sorted(runs.glob("*/epoch-*.pth"))]
    assert known == [None, 2, 3]


def test_augmented_training_images_are_drawn_on_demand(run_stage, runs):
    assert run_stage("student", "--visualize_outimages", "--num-epochs", "1") == 0
    pictures = runs / "student-SegformerB0-VOC" / "pictures"
    assert len(list(pictures.glob("augmented-*.png"))) == 4


def test_a_second_run_does_not_overwrite_the_first(run_stage, runs, capsys):
    assert run_stage("student", "--num-epochs", "1") == 0
    assert run_stage("student", "--num-epochs", "1") == 2
    assert "--resume" in capsys.readouterr().err
    assert run_stage("student", "--num-epochs", "1", "--overwrite") == 0
    assert run_stage("student", "--num-epochs", "1", "--savedate") == 0
    assert len(list(runs.iterdir())) == 2


def test_an_overwritten_run_stays_until_the_new_one_has_saved(run_stage, runs, voc, tmp_path):
    assert run_stage("student", "--num-epochs", "1") == 0
    last = runs / "student-SegformerB0-VOC" / "last.pth"
    before = last.read_bytes()
    damaged = shutil.copytree(voc, tmp_path / "damaged")
    for image in (damaged / "JPEGImages").iterdir():
        image.write_bytes(image.read_bytes()[:200])
    assert run_stage("student", "--datadir", damaged, "--overwrite") == 2
    assert last.read_bytes() == before
    assert run_stage("student", "--num-epochs", "1", "--overwrite", "--seed", "1") == 0
    assert last.read_bytes() != before
    assert list(runs.iterdir()) == [last.parent]


def test_resuming_with_other_classes_is_refused(run_stage, capsys):
    assert run_stage("student", "--num-epochs", "1") == 0
    other = ("--num-epochs", "2", "--resume", "--classes", "soil,weed,crop")
    assert run_stage("student", *other) == 2
    assert "was trained on the classes soil, crop, weed, not soil" in capsys.readouterr().err


def test_resuming_what_has_ended_changes_no_record(run_stage, runs, capsys):
    assert run_stage("student", "--num-epochs", "1") == 0
    recorded = runs / "student-SegformerB0-VOC" / "args.yaml"
    before = recorded.read_text()
    flags = ("--resume", "--lr", "0.5", "--overwrite")  # such as a recipe's: resuming wins
    assert run_stage("student", "--num-epochs", "1", *flags) == 0
    assert "the run has ended" in capsys.readouterr().out
    assert recorded.read_text() == before


def test_the_place_of_the_data_is_recorded_for_any_folder(run_stage, runs, voc, monkeypatch):
    monkeypatch.chdir(voc.parent)
    assert run_stage("student", "--num-epochs", "1", "--datadir", voc.name) == 0
    flags = yaml.safe_load((runs / "student-SegformerB0-VOC" / "args.yaml").read_text())
    assert flags["datadir"] == str(voc)


def test_a_damaged_teacher_is_not_taken_unasked(run_stage, runs, capsys):
    assert run_stage("teacher", "--num-epochs", "1") == 0
    (runs / "teacher-SegformerB3-VOC" / "best.pth").write_bytes(b"cut")
    assert run_stage("sekd") == 2
    error = capsys.readouterr().err
    assert "no teacher for VOC" in error and error.count("\n") == 1


@pytest.mark.parametrize("other", ["data", "classes"])
def test_a_teacher_of_other_data_is_not_taken_unasked(other, run_stage, voc, tmp_path, capsys):
    assert run_stage("teacher", "--num-epochs", "1") == 0
    flags = {
        "data": ("--datadir", shutil.copytree(voc, tmp_path / "copied")),
        "classes": ("--classes", "soil,beet,weed"),
    }
    assert run_stage("sekd", *flags[other]) == 2
    assert "no teacher for VOC" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_names_step_and_term(run_stage, runs, monkeypatch, capsys, load):
    from losses.embedding_patch import TexturePatchLoss

    assert run_stage("teacher", "--num-epochs", "1") == 0
    plain, calls = TexturePatchLoss.forward, []

    def breaks(self, *maps, **labels):
        calls.append(1)
        return plain(self, *maps, **labels) * (float("nan") if len(calls) == 5 else 1.0)

    monkeypatch.setattr(TexturePatchLoss, "forward", breaks)
    assert run_stage("sekd", "--num-epochs", "4") == 2
    error = capsys.readouterr().err
    assert "step 5: loss term 'texture' is nan" in error and error.strip().count("\n") == 0
    last = load(runs / "sekd-SegformerB0-VOC-sekd-ct" / "last.pth")
    assert last["training"]["progress"]["step"] == 3  # the end of the first epoch
    assert all(value.isfinite().all() for value in last["model"].values())


def test_a_step_that_needs_too_much_memory_says_what_to_do(run_stage, runs, monkeypatch, capsys):
    def fails(self, images, labels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(SupervisedTask, "forward", fails)
    assert run_stage("student") == 2
    error = capsys.readouterr().err
    assert "step 1 needs more memory" in error and "--batch-size" in error
    assert error.strip().count("\n") == 0
    assert not list(runs.iterdir())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_line_and_leaves_nothing(
    workers, run_stage, runs, capsys, voc, tmp_path
):
    damaged = shutil.copytree(voc, tmp_path / "damaged")
    image = damaged / "JPEGImages" / "field00.jpg"
    image.write_bytes(image.read_bytes()[:300])
    assert run_stage("student", "--num-workers", workers, data=damaged) == 2
    error = capsys.readouterr().err
    assert str(image) in error and "Traceback" not in error and error.count("\n") == 1
    assert not list(runs.iterdir())


def test_savedir_that_is_a_file(run_stage, runs, capsys):
    runs.write_text("not a folder")
    assert run_stage("student") == 2
    assert "pass another --savedir" in capsys.readouterr().err


def test_test_split_is_evaluated_with_the_best_weights(run_stage, runs):
    assert run_stage("student", "--test-split", "val", "--num-epochs", "1") == 0
    text = (runs / "student-SegformerB0-VOC" / "test.json").read_text()
    scores = yaml.safe_load(text)
    best = load_checkpoint(runs / "student-SegformerB0-VOC" / "best.pth")[1]["metrics"]
    assert scores["miou"] == best["miou"] and scores["split"] == "val"


def test_paper_protocol_trains_and_warns(run_stage, runs):
    with pytest.warns(UserWarning, match="--protocol paper"):
        assert run_stage("student", "--protocol", "paper", "--num-epochs", "1") == 0
    info = load_checkpoint(runs / "student-SegformerB0-VOC" / "best.pth")[1]
    assert info["preprocessing"]["protocol"] == "paper"
    assert info["preprocessing"]["mean"] == [0, 0, 0]


def test_pretrained_encoder_is_loaded(run_stage, runs, tmp_path, capsys):
    assert run_stage("student", "--pretrained", tmp_path / "absent.pth") == 2
    assert "absent.pth" in capsys.readouterr().err
    assert not runs.exists()
    assert run_stage("student", "--num-epochs", "1", "--run-name", "a") == 0
    assert run_stage("student", "--pretrained", runs / "a" / "best.pth", "--run-name", "b") == 0
    assert "encoder weights" in capsys.readouterr().out


def test_pretrained_fields_names_the_networks_that_have_them(
    run_stage, runs, tmp_path, capsys, monkeypatch
):
    """Nothing is shipped for the stage's own network: the message says what there is."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    (tmp_path / "fields_b5.safetensors").touch()
    assert run_stage("student", "--pretrained", "fields") == 2
    said = capsys.readouterr().err.strip()
    assert "come for SegformerB5, not for" in said and len(said.splitlines()) == 1
    assert not runs.exists()


@pytest.mark.parametrize(
    ("model", "classes", "told"),
    [
        ("SegformerB0", "Soil,Crop,Weed", "weights: fields"),
        (
            "SegformerB2",
            "soil,beet,grass",
            "weights: fields (SegformerB0, grown), fresh classifier: other classes",
        ),
    ],
)
def test_what_fields_weights_start_is_told(
    run_stage, tmp_path, capsys, monkeypatch, model, classes, told
):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    small, info = (
        train.networks.build_model("SegformerB0", 3),
        {"classes": ["soil", "crop", "weed"]},
    )
    shipped.save_shipped(tmp_path / "fields_b0.safetensors", small, info)
    flags = ("--pretrained", "fields", "--model", model, "--classes", classes)
    assert run_stage("student", *flags, "--num-epochs", "1") == 0
    assert told in capsys.readouterr().out.splitlines()


def test_an_initial_checkpoint_may_have_other_classes_but_is_of_the_same_network(
    run_stage, runs, voc, tmp_path, capsys
):
    assert run_stage("student", "--num-epochs", "1", "--run-name", "a") == 0
    start = ("--initial-checkpoint", runs / "a", "--run-name", "b", "--num-epochs", "1")
    assert run_stage("student", *start, "--classes", "soil,beet,grass", "--overwrite") == 0
    told = capsys.readouterr().out
    assert f"weights: {runs / 'a'}, fresh classifier: other classes\n" in told
    assert run_stage("student", *start, "--overwrite") == 0
    assert f"weights: {runs / 'a'}\n" in capsys.readouterr().out
    for flags, message in (
        (("--model", "SegformerB1"), "holds SegformerB0, not SegformerB1"),
        (("--pretrained", "fields"), "and --pretrained fields: a network starts from one"),
        (("--initial-checkpoint", tmp_path / "absent.pth"), "absent.pth"),
    ):
        assert run_stage("student", *start, "--overwrite", *flags) == 2
        error = capsys.readouterr().err.strip()
        assert message in error and error.count("\n") == 0


BAD = [
    (["--datadir", "/no/such/folder"], "/no/such/folder"),
    (["--train-split", "nonsense"], "nonsense"),
    (["--batch-size", "7"], "--batch-size 7"),
    (["--class-weights", "1,2"], "2 numbers for 3 classes"),
    (["--class-weights", "some"], "expected auto, none"),
    (["--device", "warp"], "--device warp"),
    (["--amp", "fp16"], "--amp fp16"),
    (["--warmup-steps", "500"], "--warmup-steps 500"),
    (["--resume"], "--resume"),
    (["--resume", "/no/such/file.pth"], "/no/such/file.pth"),
    (["--device", "cuda"], "--device cpu"),
]


@pytest.mark.parametrize("flags, named", BAD, ids=[" ".join(flags) for flags, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(flags, named, run_stage, runs, capsys):
    if flags[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    assert run_stage("student", *flags) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
    assert not runs.exists()


def test_weights_that_are_not_finite_are_never_saved(run_stage, runs, after_update, capsys, load):
    def breaks(optimizer):
        optimizer.param_groups[0]["params"][0].data[0] = float("nan")

    after_update(6, breaks)  # the last of the second epoch: its own loss was finite
    assert run_stage("student", "--num-epochs", "3") == 2
    assert "step 6: the network's weights are no longer finite" in capsys.readouterr().err
    last = load(runs / "student-SegformerB0-VOC" / "last.pth")
    assert last["training"]["progress"]["step"] == 3


def test_what_the_paper_protocol_does_not_read_is_told(run_stage, capsys):
    flags = ("--protocol", "paper", "--no-flip", "--rotate", "30", "--max-steps", "1")
    with pytest.warns(UserWarning, match="published numbers only"):
        assert run_stage("student", *flags) == 0
    told = "without effect: --protocol paper does not read --flip, --rotate\n"
    assert told in capsys.readouterr().out


def test_a_smaller_last_group_is_averaged_over_its_own_batches(run_stage, runs, load):
    """Three batches: one group of three, or all that there is of a group of four."""
    moments = []
    for accumulate in (3, 4):
        name = f"by-{accumulate}"
        flags = ("--accumulate", accumulate, "--num-epochs", "1", "--run-name", name)
        assert run_stage("student", *flags) == 0
        state = load(runs / name / "last.pth")["training"]["optimizer"]["state"]
        moments.append({key: entry["exp_avg"] for key, entry in state.items()})
    assert max(moment.abs().max() for moment in moments[0].values()) > 0
    torch.testing.assert_close(moments[0], moments[1], rtol=1e-4, atol=1e-7)
