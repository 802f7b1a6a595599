import os
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import torch
import yaml

from tests import scripts
from train.arguments import parse_options
from train.options import Options
from train.run_folder import find_run

PUBLISHED = {
    "sekd": "--cuda --model SegformerB0 --dataset VOC --datadir ./VOC2012 --num-epochs 500 "
    "--num-workers 4 --batch-size 4 --steps-loss 50 --steps-plot 50 --epochs-save 0 --savedate "
    "--iouVal --device cuda --knowledge-distillation-loss "
    "MultiScaleContextAlignmentDistillationLoss --kd-tau 1.0 --kd-alpha 0.5 "
    "--review-kd-loss-weight 1.0 --teacher-val True --temperature 1.0 --divergence --lr 5e-5 "
    "--height 512 --width 512",
    "teacher": "--cuda --model SegformerB3 --dataset VOC --datadir ./VOC2012 --height 512 "
    "--num-epochs 500 --num-workers 4 --batch-size 4 --steps-loss 50 --steps-plot 50 "
    "--epochs-save 0 --savedir ckpt --savedate --iouVal --device cuda",
}


def parse(*flags, stage="sekd"):
    return parse_options(stage, flags)


@pytest.mark.parametrize("stage", PUBLISHED)
def test_published_command_lines_are_understood(stage):
    options = parse_options(stage, PUBLISHED[stage].split())
    optimisation, data, distillation = options.optimisation, options.data, options.distillation
    assert (optimisation.device, optimisation.num_epochs) == ("cuda", 500)
    assert (data.height, data.width) == (512, 512)
    assert (options.run.savedate, options.logging.iouVal) == (True, True)
    assert (distillation is not None) == (stage == "sekd")
    if distillation is not None:
        assert (distillation.method, distillation.divergence) == ("sekd-ct", "kl")
        assert (distillation.kd_alpha, distillation.temperature) == (0.5, 1.0)
        assert distillation.teacher_val


def test_what_published_command_lines_spell_out_is_the_default():
    spelt = parse_options("sekd", PUBLISHED["sekd"].split()).saved()
    plain = parse_options("sekd", []).saved()
    different = {name for name, value in plain.items() if spelt[name] != value} - {"num_workers"}
    kept = {"kd_alpha", "temperature"}  # read by no published script; by our methods, each its own
    assert different == kept | {"dataset", "datadir", "device", "savedate"}


def test_no_default_changes_unnoticed():
    """Recorded runs name the flags that they were given: the others are these."""
    assert {k: v for k, v in parse().saved().items() if v is not None and v is not False} == {
        "stage": "sekd",
        "accumulate": 1,
        "amp": "auto",
        "batch_size": 4,
        "cache": "none",
        "class_weights": "none",
        "copy_paste": 0,
        "cutmix": 0,
        "dataset": "Synthetic",
        "divergence": "kl",
        "embed": 5,
        "embed_weights": [0.1, 0.1, 0.5, 1.0],
        "epochs_save": 0,
        "flip": True,
        "gl_residual": True,
        "head_lr": 1,
        "height": 512,
        "iouVal": True,
        "kd_alpha": 1,
        "kd_warmup": 0,
        "kd_weight": 1,
        "lambda_cwd": 0.3,
        "lambda_cwd_features": 5,
        "layer_decay": 1,
        "loss": "ce",
        "lr": 5e-5,
        "method": "sekd-ct",
        "model": "SegformerB0",
        "norm_type": "channel",
        "num_epochs": 500,
        "num_workers": 2,
        "on_bad_sample": "error",
        "photometric": True,
        "port": 8097,
        "power": 1,
        "protocol": "standard",
        "review_kd_loss_weight": 1,
        "review_width": 64,
        "rotate": 0,
        "savedir": str(Path("runs").absolute()),
        "scale": [0.5, 2.0],
        "seed": 0,
        "shift": 0,
        "steps_loss": 50,
        "steps_plot": 50,
        "teacher_amp": "auto",
        "teacher_val": True,
        "val_every": 1,
        "weight_decay": 0.01,
        "width": 512,
    }


@pytest.mark.parametrize(
    ("stage", "model", "lr", "epochs"),
    [
        ("teacher", "SegformerB3", 4e-5, 200),
        ("student", "SegformerB0", 5e-5, 500),
        ("sekd", "SegformerB0", 5e-5, 500),
    ],
)
def test_each_script_has_defaults_of_its_own(stage, model, lr, epochs, tmp_path):
    script = scripts.ROOT / "train" / f"train_{stage}.py"
    shown = " ".join(scripts.execute(script, ["--help-all"], tmp_path).split())
    assert f"(default: {model})" in shown
    assert f"peak learning rate of AdamW (default: {lr})" in shown
    assert f"passes over the training split (default: {epochs})" in shown


def test_names_are_found_in_any_case():
    options = parse("--model", "segformerb3", "--dataset", "cityscapes", "--method", "SEKD-SU+KD")
    assert (options.network.model, options.data.dataset) == ("SegformerB3", "Cityscapes")
    assert options.method == "sekd-su+kd"


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        ([], 0),
        (["--unlabelled", "d"], 2),
        (["--unlabelled", "d", "--unlabelled-share", "0.75"], 3),
        (["--unlabelled", "d", "--unlabelled-share", "0"], 1),
        (["--unlabelled", "d", "--unlabelled-share", "1"], 3),  # one image has a label
    ],
)
def test_a_share_of_each_batch_has_no_labels(flags, count):
    assert parse("--batch-size", "4", *flags).unlabelled_per_batch == count


@pytest.mark.parametrize(
    "flags, complaint",
    [
        (["--model", "SegformerB9"], "SegformerB9 is unknown; known: SegformerB0"),
        (["--dataset", "Mars"], "Mars is unknown; known: VOC"),
        (["--method", "sekd-ct+magic"], "magic is unknown; known: sekd"),
        (["--method", "sekd-ct+"], "'' is unknown"),
        (["--method", "kd+none"], "none cannot be joined"),
        (["--height", "16"], "--height 16: networks need"),
        (["--unlabelled-share", "0.5"], "--unlabelled-share belongs to --unlabelled"),
        (["--unlabelled", "d", "--method", "none"], "--unlabelled needs a teacher"),
        (["--unlabelled", "d", "--batch-size", "1"], "--unlabelled needs --batch-size 2 or more"),
        (["--unlabelled", "d", "--protocol", "paper"], "--unlabelled needs --protocol standard"),
        (["--cutmix", "1", "--protocol", "paper"], "--cutmix needs labels of the images' size"),
        (["--copy-paste", "1", "--protocol", "paper"], "--copy-paste needs labels of the images'"),
        (["--unlabelled", "rest"], "the number of images with labels"),
        (["--cuda", "--device", "cpu"], "contradict"),
        (["--datadir", "FIELD"], "--datadir FIELD needs --dataset: VOC for your own images"),
        (["--scale", "2", "0.5"], "--scale 2.0 0.5: the smaller number comes first"),
        (["--method", "kd", "--knowledge-distillation-loss", "hcl"], "means --method transkd-base"),
        (["--knowledge-distillation-feature-fusion", "CSF"], "belongs to"),
    ],
)
def test_contradictions_and_unknown_names(flags, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse(*flags)


@pytest.mark.parametrize(
    "flags, complaint",
    [
        (["--batch-size", "0"], "--batch-size: must be greater than 0, not 0"),
        (["--lr", "nan"], "--lr"),
        (["--lr", "fast"], "expected a number, not 'fast'"),
        (["--savedate", "perhaps"], "expected true or false"),
        (["--image-size", "480*640"], "expected native, 512 or 480x640"),
        (["--embed", "7"], "--embed"),
        (["--run-name", "../elsewhere"], "expected a folder's name, not a path: '../elsewhere'"),
        (["--run-name", ".."], "expected a folder's name"),
        (["--unheard-of"], "unrecognized arguments: --unheard-of"),
    ],
)
def test_refused_values_are_one_line_and_status_2(flags, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*flags)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "text, size",
    [("native", None), ("480x640", (480, 640)), ("300", 300), (None, 256)],
)
def test_image_size(text, size):
    flags = ["--image-size", text] if text else []
    assert parse(*flags, "--height", "256").data.evaluation_size == size


def test_a_recipe_sets_defaults_and_the_command_line_wins(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("lr: 1e-3\nbatch-size: 16\nflip: false\nscale: [0.8, 1.2]\nsavedate: true\n")
    options = parse("--config", str(recipe), "--batch-size", "8")
    assert (options.optimisation.lr, options.optimisation.batch_size) == (1e-3, 8)
    assert (options.data.flip, options.data.scale) == (False, (0.8, 1.2))
    assert options.run.savedate


def test_lists_in_a_recipe(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "image-size: [480, 640]\nclasses: [soil, crop]\nclass-weights: [1, 2]\nscale: [1, 2]\n"
    )
    options = parse("--config", str(recipe))
    assert (options.data.image_size, options.data.scale) == ((480, 640), (1, 2))
    assert options.data.classes == "soil,crop"
    assert options.optimisation.class_weights == "1,2"


def test_files_are_recorded_for_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("soil\ncrop\n")
    saved = parse("--classes", "names.txt", "--teacher", "nvidia/mit-b0").saved()
    assert (saved["classes"], saved["teacher"]) == (str(tmp_path / "names.txt"), "nvidia/mit-b0")


def test_the_newest_dated_run_of_that_name_is_resumed(tmp_path):
    names = ["exp-20260101-000000", "exp-20260102-000000", "exp-2-20260103-000000"]
    for age, name in enumerate(names):
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.pth").touch()
        os.utime(tmp_path / name / "last.pth", (age, age))
    options = parse("--savedir", str(tmp_path), "--run-name", "exp", "--savedate")
    assert find_run(options).name == names[1]
    other = parse("--savedir", str(tmp_path), "--run-name", "exp-3", "--savedate")
    with pytest.raises(FileNotFoundError, match="exp-3-DATE"):
        find_run(other)


@pytest.mark.parametrize(
    "content, complaint",
    [
        ('photometric: "off"', "recipe.yaml: photometric: expected true or false, not 'off'"),
        ("learning-rate: 1", "unknown flag 'learning-rate'; known: .*accumulate"),
        ("max-steps: 2\nmax_steps: 3", "recipe.yaml: max_steps is given twice, once as max-steps"),
        ("- lr", "must hold lines of 'name: value'"),
        ("a: b: c", "is not YAML"),
    ],
)
def test_a_bad_recipe_is_named(tmp_path, content, complaint):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(ValueError, match=complaint):
        parse("--config", str(recipe))


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b"\xff\xd8")])
def test_a_recipe_that_is_no_text_is_named(tmp_path, make):
    make(tmp_path / "recipe")
    with pytest.raises(ValueError, match="recipe is not a text file"):
        parse("--config", str(tmp_path / "recipe"))


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("batch-size: -4", "argument --batch-size: must be greater than 0, not -4"),
        ("amp: fp8", "argument --amp: invalid choice: 'fp8'"),
        ("run-name: /etc", "argument --run-name: expected a folder's name, not a path: '/etc'"),
        ("scale: [1]", "argument --scale: expected 2 arguments"),
        ("scale: [1, 2, 3]", "argument --scale: expected 2 arguments"),
        ("savedate: perhaps", "argument --savedate: expected true or false, not 'perhaps'"),
    ],
)
def test_a_recipe_value_is_checked_like_a_flag(line, complaint, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(line)
    with pytest.raises(SystemExit) as ended:
        parse("--config", str(recipe))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and complaint in error and error.count("\n") == 1


def test_the_later_source_wins(tmp_path):
    """Defaults, the resumed run, a recipe, the command line."""
    run = tmp_path / "run"
    run.mkdir()
    torch.save({"args": {"stage": "sekd", "lr": 0.1, "power": 0.2, "seed": 3}}, run / "last.pth")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("power: 0.4\nseed: 5")
    options = parse("--resume", str(run), "--config", str(recipe), "--seed", "6")
    learning = options.optimisation
    assert (learning.weight_decay, learning.lr, learning.power) == (0.01, 0.1, 0.4)
    assert (options.run.seed, options.run.resume) == (6, run / "last.pth")
    (run / "last.pth").unlink()
    torch.save({"args": {"batch_size": "many"}}, run / "last.pth")
    with pytest.raises(SystemExit):
        parse("--resume", str(run))


@pytest.mark.parametrize(
    "flags, refused",
    [
        (["--run-name", "two"], "leave out --run-name two, or"),
        (["--run-name", "on"], "leave out --run-name on, or"),
        (["--savedir", "elsewhere"], "leave out --savedir elsewhere, or"),
        (["--run-name", "one"], None),
        (["--savedir", "runs", "--run-name", "one-20260101-000000"], None),
    ],
)
def test_a_run_that_is_named_is_resumed_in_its_own_folder(flags, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last = Path("runs", "one-20260101-000000", "last.pth")
    last.parent.mkdir(parents=True)
    torch.save({"args": {"stage": "sekd", "savedir": "/of/another/machine"}}, last)
    if refused is None:
        assert parse("--resume", str(last), *flags).run.resume == last.absolute()
        return
    with pytest.raises(ValueError, match=refused):
        parse("--resume", str(last), *flags)


def test_a_recipe_does_not_name_the_place_of_a_resumed_run(tmp_path):
    (tmp_path / "one").mkdir()
    torch.save({"args": {"stage": "sekd"}}, tmp_path / "one" / "last.pth")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("savedir: runs\nrun-name: two")
    options = parse("--config", str(recipe), "--resume", str(tmp_path / "one"))
    assert options.run.resume == tmp_path / "one" / "last.pth"


def test_a_run_is_resumed_from_inside_the_folder_of_runs(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    torch.save({"args": {"stage": "sekd", "seed": 3}}, tmp_path / "one" / "last.pth")
    monkeypatch.chdir(tmp_path)
    options = parse("--savedir", ".", "--run-name", "one", "--resume")
    assert (options.run.seed, options.run.resume) == (3, Path("one/last.pth"))


@pytest.mark.parametrize("concern", [each.name for each in fields(Options)][1:])
def test_nobody_writes_into_options(concern):
    options = parse()
    with pytest.raises(FrozenInstanceError):
        setattr(options, concern, None)
    frozen = getattr(options, concern)
    with pytest.raises(FrozenInstanceError):
        setattr(frozen, fields(frozen)[0].name, None)


def test_saved_arguments_read_back_to_the_same_options(tmp_path):
    options = parse(
        *("--method", "kd", "--rotate", "10", "--class-weights", "1,3,3", "--no-flip"),
        *("--image-size", "480x640"),
    )
    recipe = tmp_path / "args.yaml"
    recipe.write_text(yaml.safe_dump(options.saved()))
    assert parse("--config", str(recipe)).saved() == options.saved()


def test_feature_fusion_chooses_between_the_two_users_of_hcl():
    hcl = ("--knowledge-distillation-loss", "hcl", "--knowledge-distillation-feature-fusion")
    assert parse(*hcl, "CSF").method == "transkd-base"
    assert parse(*hcl, "ABF").method == "reviewkd"


def test_the_flags_of_a_run_are_a_recipe(tmp_path):
    saved = tmp_path / "args.yaml"
    saved.write_text(yaml.safe_dump(parse("--lr", "0.5").saved()))
    assert parse("--config", str(saved)).optimisation.lr == 0.5
    saved.write_text("stage: teacher")
    with pytest.raises(ValueError, match="another stage than train_sekd.py"):
        parse("--config", str(saved))
