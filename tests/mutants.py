"""Mutation testing: change the code in one place at a time and see whether a test notices.

    python -m tests.mutants                 # a sample of every file, results/mutants.md
    python -m tests.mutants losses train    # of these folders or files alone
    python -m tests.mutants --count all     # every mutant
    python -m tests.mutants --minutes 30    # as many as can be begun in that time
    python -m tests.mutants --continue      # the rest of these, and survivors once more

The changes are those of cosmic-ray's operators. Its own runner starts one process for each mutant,
in which importing torch takes longer than the tests; here, two workers with a copy of the project
each fork a process that has imported it already.
"""

import argparse
import ast
import collections
import dataclasses
import importlib
import itertools
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from tqdm import tqdm

from tests.mutants_report import write_report

ROOT = Path(__file__).parents[1]
STORE = ROOT / "results" / "mutants.json"
UNCOPIED = ("runs", "ckpt", "data")
ROOMS = [  # what a worker's copy holds
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and not path.name.startswith((".", "__")) and path.name not in UNCOPIED
]
PRELOADED = (
    *("accelerate", "cv2", "hypothesis", "numpy", "PIL.Image", "scipy.optimize", "timm.utils"),
    *("torch", "torch.utils.tensorboard", "torchmetrics", "transformers", "yaml"),
)
# Each replaces a name or needs one that its configuration gives.
UNUSED_OPERATORS = ("core/VariableReplacer", "core/VariableInserter")
CPU_SECONDS, WALL_SECONDS = 300, 1200  # that the tests of a mutant may take
MEMORY = 8 * 2**30  # bytes that the tests of a mutant may take
BROKEN = 99
FAILED = Path("failed.txt")
OUTCOMES = {0: "survived", 5: "no test ran", BROKEN: "pytest broke"}

# Files, and the tests that belong to them; {stem} is the file's name. Of several patterns the first
# counts, and the first test to fail ends a run: what takes no time comes first.
RUNS = "tests/train/test_behaviour.py tests/train/test_stage.py tests/train/test_recipe_flags.py"
TARGETS = (
    ("losses/laplacian_pyramid.py", "tests/losses/test_embedding_patch.py"),
    ("losses/patch_statistics.py", "tests/losses/test_embedding_patch.py"),
    (
        "losses/*.py",
        "tests/losses/test_{stem}*.py tests/losses/test_distiller.py tests/losses/test_methods.py",
    ),
    ("eval/metrics.py", "tests/eval/test_metrics.py"),
    ("eval/evaluator.py", "tests/eval/test_evaluator.py tests/eval/test_paper_protocol.py"),
    ("eval/inference.py", "tests/eval/test_inference.py"),
    ("datasets/transforms.py", "tests/datasets/test_transforms.py"),
    ("models/encoder.py", "tests/models/test_families.py tests/models/test_mit.py"),
    ("models/mit.py", "tests/models/test_mit.py tests/models/test_segmenter.py"),
    ("models/pvt.py", "tests/models/test_pvt.py tests/models/test_families.py"),
    ("models/head.py", "tests/models/test_head.py tests/models/test_segmenter.py"),
    ("models/segmenter.py", "tests/models/test_segmenter.py tests/models/test_families.py"),
    ("train/options/*.py", "tests/train/test_options.py tests/train/test_behaviour.py"),
    ("train/plan/*.py", "tests/train/test_pipeline.py"),
    ("train/pipeline.py", "tests/train/test_pipeline.py"),
    ("train/study/*.py", "tests/train/study"),
    ("train/sweep.py", "tests/train/study"),
    ("train/provenance.py", "tests/train/test_reproduce.py"),
    ("train/reproduce.py", "tests/train/test_reproduce.py"),
    ("train/segmentation_loss.py", "tests/train/test_segmentation_loss.py"),
    ("train/region_losses.py", "tests/train/test_region_losses.py"),
    ("train/tasks.py", "tests/train/test_tasks.py tests/train/test_distillation_run.py"),
    ("train/teacher.py", "tests/train/test_teacher.py tests/train/test_tasks.py"),
    ("train/trackers.py", "tests/train/test_trackers.py tests/train/test_stage.py"),
    ("train/gradients.py", "tests/train/test_bad_numbers.py"),
    ("train/meter.py", f"tests/train/test_meter.py tests/train/test_bad_numbers.py {RUNS}"),
    ("train/train_*.py", f"tests/train/test_options.py tests/train/test_reproduce.py {RUNS}"),
    ("train/optimizer.py", f"tests/train/test_schedule.py tests/train/test_short_cuts.py {RUNS}"),
    ("train/*.py", f"tests/train/test_{{stem}}*.py {RUNS} tests/train/test_outages.py"),
)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A file in which one thing is changed."""

    file: str
    line: int
    before: str  # the line, stripped
    after: str
    source: str = dataclasses.field(repr=False)

    def is_of(self, entry: dict) -> bool:
        """Whether an entry of the store is about this mutant."""
        return (entry["before"], entry["after"]) == (self.before, self.after)


def main() -> None:
    """Run the mutants that were asked for; write results/mutants.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", help="folders or files (default: all targets)")
    parser.add_argument("--count", default="4", help="mutants per file, or all (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which to stop")
    parser.add_argument(
        "--continue",
        dest="goes_on",
        action="store_true",
        help="keep what an earlier run of the same code has killed",
    )
    arguments = parser.parse_args()
    ended = time.monotonic() + 60 * arguments.minutes
    count = None if arguments.count == "all" else int(arguments.count)
    targets = dict(find_targets(arguments.paths))
    samples = [sample(file, count, arguments.seed) for file in targets]
    # The first of each file, then the second: a run that is stopped has seen a bit of everything.
    mutants = [m for turn in itertools.zip_longest(*samples) for m in turn if m is not None]
    for module in PRELOADED:
        importlib.import_module(module)
    kept = STORE.exists() and (arguments.paths or arguments.goes_on)
    known: dict[str, list[dict]] = json.loads(STORE.read_text()) if kept else {}
    outcomes: dict[str, list[dict]] = collections.defaultdict(list)
    if arguments.goes_on:
        caught = {
            file: [
                entry for entry in known.get(file, ()) if entry["outcome"] in ("killed", "timeout")
            ]
            for file in targets
        }
        outcomes.update({file: entries for file, entries in caught.items() if entries})
        known = {file: entries for file, entries in known.items() if file not in targets}
        mutants = [m for m in mutants if not any(map(m.is_of, outcomes.get(m.file, ())))]
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        # Not a `Pool`, whose processes may have no children of their own: loader workers are.
        ProcessPoolExecutor(
            arguments.workers, get_context("fork"), copy_project, (folder,)
        ) as pool,
    ):
        jobs = [pool.submit(run_mutant, (mutant, targets[mutant.file])) for mutant in mutants]
        for job in tqdm(as_completed(jobs), total=len(jobs)):
            mutant, outcome = job.result()
            entry = {"line": mutant.line, "before": mutant.before, "after": mutant.after}
            outcomes[mutant.file].append(entry | {"outcome": outcome})
            keep(known | outcomes, arguments.seed)
            if time.monotonic() > ended:
                pool.shutdown(cancel_futures=True)
                break


def keep(outcomes: Mapping[str, list[dict]], seed: int) -> None:
    """Write what is known so far: survivors can be looked at while others run."""
    ordered = {
        file: sorted(entries, key=lambda entry: (entry["line"], entry["after"]))
        for file, entries in sorted(outcomes.items())
    }
    STORE.write_text(json.dumps(ordered, indent=1) + "\n")
    not_run = [file for file, _ in find_targets([]) if file not in ordered]
    write_report(ordered, not_run, ROOT / "results" / "mutants.md", seed)


def find_targets(paths: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each file to change with the test files that belong to it, its own first."""
    found: dict[str, tuple[str, ...]] = {}
    for pattern, tests in TARGETS:
        for path in sorted(ROOT.glob(pattern)):
            file = path.relative_to(ROOT).as_posix()
            if path.name != "__init__.py":
                words = tests.format(stem=path.stem).split()
                names = (str(name.relative_to(ROOT)) for w in words for name in ROOT.glob(w))
                found.setdefault(file, tuple(dict.fromkeys(names)))
    for file, tests in found.items():
        if not paths or any(file == p or file.startswith(p.rstrip("/") + "/") for p in paths):
            yield file, tests


def sample(file: str, count: int | None, seed: int) -> list[Mutant]:
    """So many mutants of a file, or all: places are drawn first, then what happens there."""
    source = (ROOT / file).read_text()
    places = find_places(source)
    draw = random.Random(f"{seed} {file}")
    order = sorted(places)
    draw.shuffle(order)
    mutants = []
    for place in order:
        changes = places[place] if count is None else draw.sample(places[place], 1)
        for name, occurrence in changes:
            try:
                mutated = mutate_code(source, get_operator(name)(), occurrence)
            except AttributeError:  # cosmic-ray's ExceptionReplacer, of a dotted name
                continue
            if mutated and (mutant := as_mutant(file, source, mutated)):
                mutants.append(mutant)
        if count is not None and len(mutants) >= count:
            break
    return mutants


def find_places(source: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """{(line, column): [(operator, its how-manieth place)]} outside what `unmutated` names."""
    spared = list(unmutated(ast.parse(source)))
    nodes = list(ast_nodes(get_ast(source)))
    places = collections.defaultdict(list)
    for name in operator_names():
        if name in UNUSED_OPERATORS:
            continue
        operator = get_operator(name)()
        found = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(found):
            if not any(first <= start < last for first, last in spared):
                places[start].append((name, occurrence))
    return places


def unmutated(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Extents of what no test could miss: imports, annotations, text, `__name__ ==`, `strict=`."""
    for node in ast.walk(tree):
        skipped = []
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
            skipped.append(node)
        if isinstance(node, ast.keyword) and node.arg == "strict":
            skipped.append(node)  # guards what cannot happen, as an assert
        if isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ "):
            skipped.append(node.test)
        skipped += [getattr(node, name, None) for name in ("annotation", "returns")]
        for part in skipped:
            if isinstance(part, ast.AST):
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def as_mutant(file: str, source: str, mutated: str) -> Mutant | None:
    """The mutant whose text is `mutated`; None where that is no Python or no change."""
    try:
        if ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    old, new = source.splitlines(), mutated.splitlines()
    pairs = enumerate(zip(old, new, strict=False))
    line = next((i for i, (a, b) in pairs if a != b and a.strip()), 0)
    after = "(removed)" if len(new) < len(old) else new[line].strip()
    return Mutant(file, line + 1, old[line].strip(), after, mutated)


def copy_project(parent: str) -> None:
    """Make this worker a copy of the code, in the folder `parent`, and work in it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    folder = Path(tempfile.mkdtemp(dir=parent))
    unwanted = shutil.ignore_patterns("__pycache__")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=unwanted)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    os.environ.setdefault("SEKD_SHARED", str(ROOT.parent / "shared"))
    os.chdir(folder)
    sys.path[0] = str(folder)
    for name in [name for name in sys.modules if name.split(".")[0] in ROOMS]:
        del sys.modules[name]  # the copy's are imported, by each child anew


def run_mutant(job: tuple[Mutant, Sequence[str]]) -> tuple[Mutant, str]:
    """Run the tests of a file on one mutant of it; "unsure" if unchanged code fails as well."""
    mutant, suite = job
    path = Path(mutant.file)
    original = path.read_text()
    path.write_text(mutant.source)
    try:
        outcome = run_tests(suite)
    finally:
        path.write_text(original)
    if outcome == "killed" and FAILED.exists() and run_tests([FAILED.read_text()]) == "killed":
        return mutant, "unsure"
    return mutant, outcome


def run_tests(tests: Sequence[str]) -> str:
    """Run tests in a fork of this process; "survived", "killed", "timeout" or "no test ran"."""
    FAILED.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            run_pytest(tests)
        finally:  # whatever happens, there is no second worker
            os._exit(BROKEN)
    deadline = time.monotonic() + WALL_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
                return "timeout"
            return OUTCOMES.get(os.waitstatus_to_exitcode(status), "killed")
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run_pytest(tests: Sequence[str]) -> None:
    """In the child: run the tests quietly, note the first that fails, and end."""
    os.setpgrp()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    log = os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.dont_write_bytecode = True  # two versions of a file may have the same second and size
    flags = ["-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
    words = ["-x", "-q", "-m", "not slow", *flags, *tests]
    os._exit(int(pytest.main(words, plugins=[FailureNote()])))


class FailureNote:
    """Writes down which test failed, or which file could not be collected."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that failed."""
        if report.failed:
            FAILED.write_text(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be imported."""
        if report.failed:
            FAILED.write_text(report.nodeid)


if __name__ == "__main__":
    main()
