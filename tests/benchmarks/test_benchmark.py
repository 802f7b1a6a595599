"""The benchmark's bars, tables and picture, from records that programs would print."""

import json
import sys

import pytest
from rich.console import Console

from benchmarks import benchmark, plan, tables
from benchmarks.bars import BARS, OURS, Bar
from losses import METHODS


def record(part="inference", case="A", contender=OURS, **values):
    return {"part": part, "case": case, "contender": contender, **values}


FASTER = Bar("faster", "inference", "A", OURS, ("x", "y"), "seconds", at_least=2)
SMALLER = Bar("smaller", "inference", "A", OURS, ("x",), "peak_bytes", at_most=0.25)
SMALL = Bar("small", "inference", "A", OURS, (), "peak_bytes", at_most=3)


def test_a_bar_compares_with_the_best_of_the_others():
    records = [
        record(seconds=1.0),
        record(contender="x", seconds=3.0),
        record(contender="y", seconds=2.5),
        record(case="B", contender="y", seconds=0.1),
        record(part="training", contender="y", seconds=0.1),
    ]
    assert FASTER.measured(records) == 2.5
    assert FASTER.holds(2.5) and not FASTER.holds(1.9)


def test_a_slow_moment_of_the_machine_does_not_count():
    records = [
        record(seconds=1.0, each=[1.0, 1.0, 9.0]),
        record(contender="x", seconds=2.5, each=[2.5, 2.5, 22.5]),
    ]
    assert FASTER.measured(records) == 2.5


def test_a_bar_on_memory():
    records = [record(peak_bytes=2e9), record(contender="x", peak_bytes=10e9)]
    assert SMALLER.measured(records) == pytest.approx(0.2)
    assert SMALL.measured(records) == 2
    assert SMALLER.holds(0.2) and SMALL.holds(2) and not SMALL.holds(3.1)


def test_what_was_not_measured_does_not_hold():
    for bar in (FASTER, SMALLER, SMALL):
        assert bar.measured([record(contender="x", seconds=1.0, peak_bytes=1)]) is None
        assert not bar.holds(None)


def test_every_bar_has_a_part_that_measures_it():
    assert {bar.part for bar in BARS} <= set(plan.PLAN) == set(tables.TITLES)
    assert set(plan.METHODS) == set(METHODS)
    for programs in plan.PLAN.values():
        for program, *_ in programs:
            assert (benchmark.ROOT / "benchmarks" / program).is_file()


RECORDS = [
    record(seconds=0.5, spread=0.01, images_per_second=2.0),
    record(contender="x", seconds=1.5, spread=0.01),
    record(contender="x", peak_bytes=2**20),
    *(
        record("growth", f"{size}", who, size=size, batch=1, model="B0", seconds=size / 100)
        for size in (64, 128)
        for who in (OURS, "x")
    ),
    *(
        record("growth", f"{batch} step", who, size=64, batch=batch, seconds=batch / 10)
        for batch in (1, 2)
        for who in ("sekd-ct", "floor")
    ),
]


def test_tables_tell_what_was_measured(tmp_path):
    target = tmp_path / "b.md"
    bars = [FASTER._replace(against=("x",)), SMALLER]
    tables.write_markdown(target, bars, RECORDS, {"CPU": "slow"}, None)
    text = target.read_text()
    assert "| faster | at least 2 times | 3.00 times | yes |" in text
    assert "| smaller | at most 0.25 times | not measured | no |" in text
    assert "Machine: CPU slow." in text
    assert "| A | x | 1500 | 10.0 | 3.00 |  | 1 |" in text
    console = Console(record=True, width=120)
    tables.print_bars(bars, RECORDS, console)
    assert "3.00 times" in console.export_text()


def test_growth_is_drawn_where_it_was_measured(tmp_path):
    assert tables.draw_growth(RECORDS, tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 10_000
    assert not tables.draw_growth(RECORDS[:2], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_command_runs_programs_and_checks(tmp_path, monkeypatch):
    words = ["metric_update.py", "--image", "64", "96"]
    monkeypatch.setitem(benchmark.PLAN, "metric", [words])
    argv = ["benchmark.py", "--parts", "metric", "--rounds", "1", "--output", str(tmp_path)]
    argv += ["--check", "--device", "cpu"]
    rival = ("torchmetrics",)
    for classes, resume, status in ((19, [], 0), (20, ["--resume"], 1)):
        # Whether a bar is met is for a quiet machine to say: here, whether it was measured at all.
        case = f"64 x 96, {classes} classes"
        bar = Bar("any speed", "metric", case, OURS, rival, "seconds", at_least=1e-6)
        monkeypatch.setattr(benchmark, "BARS", [bar])
        monkeypatch.setattr(sys, "argv", [*argv, *resume])
        assert benchmark.main() == status
    figures = json.loads((tmp_path / "benchmark.json").read_text())
    assert {r["contender"] for r in figures["records"]} >= {OURS, "torchmetrics"}
    assert figures["machine"]["torch"]


PROGRAM = """
import json, pathlib, sys
if "--unknown" in sys.argv:
    sys.exit(2)
pathlib.Path(__file__).with_name("starts").open("a").write("one\\n")
print(json.dumps({"case": sys.argv[1], "contender": "this project", "seconds": 1.0}))
"""


@pytest.fixture
def program(tmp_path):
    """A program that takes no time."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return str(tmp_path / "program.py")


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, program):
    programs = [[program, "a"], [program, "b"]]
    monkeypatch.setitem(benchmark.PLAN, "metric", [*programs, [program, "--unknown"]])
    argv = ["benchmark.py", "--parts", "metric", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(ValueError, match="part metric: .*program.py --unknown ended with 2"):
        benchmark.main()
    before = json.loads((tmp_path / "benchmark.json").read_text())["records"]
    assert [record["case"] for record in before] == ["a", "b"]
    monkeypatch.setitem(benchmark.PLAN, "metric", programs)
    monkeypatch.setattr(sys, "argv", [*argv, "--resume"])
    assert benchmark.main() == 0
    assert json.loads((tmp_path / "benchmark.json").read_text())["records"] == before
    assert (tmp_path / "starts").read_text() == "one\n" * 2  # nothing was left to be run
    monkeypatch.setattr(benchmark, "describe_machine", lambda *_: {"CPU": "another"})
    with pytest.raises(ValueError, match="is of another machine"):
        benchmark.main()


def test_there_must_be_a_run_to_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--resume", "--output", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="--resume: there is no"):
        benchmark.main()
