"""How a command ends."""

import os

import pytest
from torch.utils.data import DataLoader

from command_line.cli import OneLineParser, run


def ended(main):
    with pytest.raises(SystemExit) as end:
        run(main)
    return end.value.code


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (1, 1)])
def test_status_is_what_main_returns(result, status):
    assert ended(lambda: result) == status


@pytest.mark.parametrize("error", [ValueError("--lr -1:\n  too low"), FileNotFoundError("no x")])
def test_a_mistake_is_one_line(error, capsys, monkeypatch):
    monkeypatch.delenv("SEKD_DEBUG", raising=False)
    monkeypatch.setattr("sys.argv", ["somewhere/command.py"])
    assert ended(raising(error)) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("command.py: error: ") and printed.count("\n") == 1


def test_a_reader_that_has_left_is_no_error(capsys, monkeypatch):
    """Such as `| head`; rich turns the broken pipe into an exit of its own."""

    def main():
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            raise SystemExit(1)  # noqa: B904

    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr("sys.stdout", nowhere)
        for each in (main, raising(BrokenPipeError())):
            assert ended(each) == 141
    assert capsys.readouterr().err == ""


class Broken:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise ValueError("a.png: truncated image") from OSError("behind")


def test_a_mistake_in_a_loader_worker_is_the_same_line(capsys, monkeypatch):
    monkeypatch.delenv("SEKD_DEBUG", raising=False)
    monkeypatch.setattr("sys.argv", ["command.py"])
    assert ended(lambda: list(DataLoader(Broken(), num_workers=1))) == 2
    assert capsys.readouterr().err == "command.py: error: a.png: truncated image\n"


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("SEKD_DEBUG", "1")
    with pytest.raises(ValueError, match="why"):
        run(raising(ValueError("why")))


def test_a_defect_keeps_its_traceback():
    with pytest.raises(AssertionError):
        run(raising(AssertionError("ours")))


def test_interrupt():
    assert ended(raising(KeyboardInterrupt())) == 130


def test_help_has_two_levels(capsys):
    parser = OneLineParser(prog="command.py")
    parser.add_argument("runs", nargs="+", help="what is scored")
    parser.add_argument("--state", required=True, help="needed")
    group = parser.add_argument_group("seldom")
    group.add_argument("--often", help="used often")
    group.add_argument("--rare", help="used rarely")
    parser.add_argument_group("hidden as a whole").add_argument("--rarest")
    parser.show_first("--often")

    def shown(flag):
        with pytest.raises(SystemExit) as end:
            parser.parse_args([flag])
        assert end.value.code == 0
        return capsys.readouterr().out

    first = shown("--help")
    assert all(text in first for text in ("runs", "--state", "--often", "--help-all"))
    assert "--rare" not in first and "hidden as a whole" not in first
    assert "shows 2 more flags" in first
    everything = shown("--help-all")
    assert "used rarely" in everything and "--rarest" in everything and "used often" in everything
    assert parser.parse_args(["a", "--state", "b", "--rare", "1"]).rare == "1"
