"""What a run folder remembers, and the command that trains the same run again."""

import math
import shlex

import pytest

from eval.reporting.run_records import NO_TERMS, RunRecord, read_log, read_record, training_command

LOG = """epoch,step,lr,loss,cross_entropy,images_per_second,miou,iou_soil
1,9,0.001,2.5,1.5,3.1,,
2,18,0.001,1.25,1.0,3.2,0.5,0.75
3,2"""


def test_a_log_is_read_up_to_the_row_that_is_being_written(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    record = RunRecord(tmp_path, {}, read_log(tmp_path / "log.csv"))
    assert record.steps == [9, 18]
    assert record.terms == {"loss": [2.5, 1.25], "cross_entropy": [1.5, 1.0]}
    assert math.isnan(record.log["miou"][0]) and record.log["miou"][1] == 0.5


@pytest.mark.parametrize("content", [None, "", "epoch,step,loss\n", "epoch,step,loss\n1,9\n"])
def test_a_run_without_a_finished_epoch_has_no_log(tmp_path, content):
    if content is not None:
        (tmp_path / "log.csv").write_text(content)
    record = RunRecord(tmp_path, {}, read_log(tmp_path / "log.csv"))
    assert record.log == {} and record.terms == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [("step,loss\n9,many\n", "log.csv is broken: .*many"), ("a,b\n1,2\n", "no column 'step'")],
)
def test_a_broken_log_is_named(tmp_path, content, message):
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_log(tmp_path / "log.csv")


def test_flags_come_from_the_folder_or_the_checkpoint(tmp_path):
    assert read_record(str(tmp_path), {"lr": 1.0}).flags == {"lr": 1.0}
    (tmp_path / "args.yaml").write_text("lr: 2.0\n")
    assert read_record(str(tmp_path / "best.pth"), {"lr": 1.0}).flags == {"lr": 2.0}
    (tmp_path / "args.yaml").write_text("lr: [\n")
    with pytest.raises(ValueError, match="args.yaml is not YAML"):
        read_record(str(tmp_path), {})


def test_columns_that_are_no_loss_are_those_that_training_writes():
    from train.stage import COUNT_COLUMNS, SCORE_COLUMNS, SPEED_COLUMNS

    written = {"epoch", "step", "lr", *SPEED_COLUMNS, *SCORE_COLUMNS, *COUNT_COLUMNS}
    assert set(NO_TERMS) == written


@pytest.mark.parametrize("stage", ["teacher", "student", "sekd"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_command_sets_every_flag_as_it_was(stage, turned):
    from train.arguments import FlagParser, parse_options

    scale = ("1", "1") if turned else ("0.6", "1.6")
    typed = ["--model", "SegformerB0", "--scale", *scale, "--image-size", "480x640"]
    typed += ["--height", "480", "--width", "640"]
    typed += ["--run-name=-odd name", "--savedir", "my runs", "--class-weights", "1,3,3"]
    if stage == "sekd":
        typed += ["--method", "kd"]  # all switches are for methods on logits
    if turned:  # every switch against its default, so that none is forgotten
        for action in FlagParser(stage).actions.values():
            if isinstance(action.default, bool) and action.dest not in ("overwrite", "cuda"):
                on, *off = action.option_strings
                if off:
                    typed.append(off[0] if action.default else on)
                elif action.nargs == 0:
                    typed.append(on)
                else:
                    typed += [on, str(not action.default)]
    flags = parse_options(stage, typed).saved()
    python, script, *words = shlex.split(training_command(flags))
    assert (python, script) == ("python", f"train/train_{stage}.py")
    assert parse_options(stage, words).saved() == flags


def test_there_is_no_command_without_a_stage():
    assert training_command({}) is None
