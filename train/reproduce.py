"""Repeat a training run from its results.json, and compare weights and scores.

    python train/reproduce.py runs/NAME/results.json

On the same kind of CPU, with the same versions, both are bit-identical.
"""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run by path: import from the project root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from rich.console import Console
from rich.markup import escape

from command_line.cli import OneLineParser, run
from command_line.documents import read_json
from eval.reporting.run_records import training_command
from models.description import check_saved_flags
from train.arguments import FlagParser
from train.run_folder import RESULTS

CIRCUMSTANCES = (
    "seed", "git", "versions", "hardware", "processes", "data_sha256", "start_sha256",
    "teacher_sha256",
)  # fmt: skip


def main() -> int:
    """Run the command line; status 1 if the weights or a score differ."""
    args = build_parser().parse_args()
    results = args.results / RESULTS if args.results.is_dir() else args.results
    recorded = read_results(results)
    folder = args.savedir / f"{results.resolve().parent.name}-again"
    if folder.exists():
        raise FileExistsError(f"{folder} exists: remove it, or name another folder with --savedir")
    # The recorded run folder must not be reused.
    kept = {"savedir": str(folder.parent), "run_name": folder.name, "savedate": False}
    moved = {name: getattr(args, name) for name in ("datadir", "teacher") if getattr(args, name)}
    words = shlex.split(training_command(recorded["flags"] | kept | moved) or "")
    script = Path(__file__).with_name(Path(words[1]).name)
    status = subprocess.run([sys.executable, str(script), *words[2:]]).returncode
    if status:
        return status
    return compare(recorded, read_results(folder / RESULTS), Console())


def read_results(path: Path) -> dict[str, Any]:
    """Read a results.json.

    Raises:
        ValueError: it is not that of a training run.
        OSError: it cannot be opened.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("scores"), dict):
        raise ValueError(f"{path} is not the {RESULTS} of a training run")
    flags = check_saved_flags(content.get("flags"), str(path))
    if flags.get("stage") not in ("teacher", "student", "sekd"):
        raise ValueError(f"{path}: flags: no stage that can be trained again")
    try:
        FlagParser(flags["stage"]).check({k: v for k, v in flags.items() if k != "stage"}, path)
    except ValueError as error:
        git = content.get("git")
        commit = git.get("commit") if isinstance(git, dict) else "unknown"
        raise ValueError(
            f"{error}; run it with the version that wrote it: commit {commit}"
        ) from None
    return content


def compare(recorded: dict[str, Any], again: dict[str, Any], console: Console) -> int:
    """Print which values match; return 1 if the weights or a score differ, else 0."""
    known = [name for name in CIRCUMSTANCES if recorded.get(name) is not None]
    for name in known:  # an old record has fewer of them
        for part, before, now in _differences(recorded[name], again.get(name)):
            told = f"{' '.join([name, *part])} differs: {before}, now {now}"
            console.print(escape(told), soft_wrap=True)
    differ = 0
    for name in sorted({*recorded["scores"], *again["scores"]}):
        before, now = recorded["scores"].get(name), again["scores"].get(name)
        differ += before != now
        console.print(escape(f"{name}: {before}, now {now}{'' if before == now else ': differs'}"))
    same = recorded.get("weights_sha256") == again.get("weights_sha256")
    console.print("weights: " + ("equal to the last bit" if same else "differ"))
    return int(bool(differ) or not same)


def _differences(before: Any, now: Any) -> list[tuple[list[str], Any, Any]]:
    """Differences as ([entry], before, now), entry by entry if both sides are dicts."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [([], before, now)] if before != now else []
    return [
        ([name], before.get(name), now.get(name))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def build_parser() -> OneLineParser:
    """Return the command-line parser."""
    parser = OneLineParser(description="Run a training again, and compare weights and scores.")
    parser.add_argument(
        "results", type=Path, metavar="RESULTS", help="results.json of a run, or the run folder"
    )
    parser.add_argument("--datadir", help="folder of the data set, where it has moved")
    parser.add_argument("--teacher", nargs="+", help="the teacher's checkpoint, where it has moved")
    parser.add_argument(
        "--savedir",
        type=Path,
        default=Path("runs"),
        help="folder for the new run, NAME-again (default: runs)",
    )
    return parser


if __name__ == "__main__":
    run(main)
