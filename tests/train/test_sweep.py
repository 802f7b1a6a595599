import pytest

from train import sweep
from train.options import parse_options
from train.sweep import document, losses_of


def test_losses_are_means_over_the_ends_of_the_run(tmp_path):
    log = tmp_path / "log.csv"
    values = [4.0, 2.0, *[9.0] * 16, 1.0, 0.5]
    log.write_text("epoch,loss\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    assert losses_of(log) == {"first loss": "3.000", "last loss": "0.750", "last / first": "0.25"}


@pytest.mark.parametrize("flags", [["--dataset", "VOC"], ["--run-name", "two words"]])
def test_document_holds_the_command_and_the_table(flags):
    text = document("Methods", flags, [{"method": "kd", "mIoU": "50.00"}])
    assert text.startswith("## Methods\n") and text.endswith("| kd | 50.00 |\n")
    assert f"train_sekd.py {flags[0]} " in text and ("'two words'" in text) == ("words" in flags[1])


def test_a_misspelt_method_is_found_before_the_first_is_trained(tmp_path, monkeypatch):
    words = ["--methods", "none,kdd", "--output", str(tmp_path / "m.md"), "--", "--max-steps", "1"]
    monkeypatch.setattr("sys.argv", ["sweep.py", *words])
    monkeypatch.setattr(sweep, "train_method", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match="--method kdd is unknown"):
        sweep.main()


def test_a_table_that_cannot_be_written_is_found_before_the_first_is_trained(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    words = ["--output", str(tmp_path / "file" / "m.md"), "--", "--max-steps", "1"]
    monkeypatch.setattr("sys.argv", ["sweep.py", *words])
    monkeypatch.setattr(sweep, "train_method", lambda *_: pytest.fail("trained"))
    with pytest.raises(OSError, match="--output .* cannot be written"):
        sweep.main()


def test_runs_of_a_sweep_are_where_it_looks_for_them(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(sweep, "run_script", lambda words: heard.extend(words) or 0)
    sweep.train_method("kd", ["--savedate", "--savedir", str(tmp_path)], tmp_path / "kd")
    options = parse_options("sekd", heard, model="SegformerB0")
    assert (options.run_name, options.savedate, options.overwrite) == ("kd", False, True)
