"""Run a training again from its results.json, and compare weights and scores.

    python train/reproduce.py runs/NAME/results.json

On a CPU of the same kind, with the same versions, both are equal to the last bit.
"""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

from rich.console import Console
from rich.markup import escape

from command_line.cli import OneLineParser, run
from command_line.documents import read_json
from eval.reporting.run_records import training_command
from models.description import check_flags
from train.run_folder import RESULTS

CIRCUMSTANCES = ("git", "versions", "hardware", "processes", "data_sha256")


def main() -> int:
    """Run the command line; status 1 if the weights or a score differ."""
    args = build_parser().parse_args()
    recorded = read_results(args.results)
    folder = args.savedir / f"{args.results.resolve().parent.name}-again"
    # What the record says of where the run was kept is not what this one shall do.
    kept = {"savedir": str(folder.parent), "run_name": folder.name, "savedate": False}
    words = shlex.split(training_command(recorded["flags"] | kept) or "")
    script = Path(__file__).with_name(Path(words[1]).name)
    status = subprocess.run([sys.executable, str(script), *words[2:]]).returncode
    if status:
        return status
    return compare(recorded, read_results(folder / RESULTS), Console())


def read_results(path: Path) -> dict[str, Any]:
    """Read a results.json.

    Raises:
        ValueError: it is none.
        OSError: it cannot be opened.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("scores"), dict):
        raise ValueError(f"{path} is not the {RESULTS} of a training run")
    flags = check_flags(content.get("flags"), str(path))
    if flags.get("stage") not in ("teacher", "student", "sekd"):
        raise ValueError(f"{path}: flags: no stage that can be trained again")
    return content


def compare(recorded: dict[str, Any], again: dict[str, Any], console: Console) -> int:
    """Print what is equal and what is not; 1 if the weights or a score differ, else 0."""
    for name in CIRCUMSTANCES:
        if recorded.get(name) != again.get(name):
            told = f"{name} differ: {recorded.get(name)}, now {again.get(name)}"
            console.print(escape(told), soft_wrap=True)
    differ = 0
    for name in sorted({*recorded["scores"], *again["scores"]}):
        before, now = recorded["scores"].get(name), again["scores"].get(name)
        differ += before != now
        console.print(escape(f"{name}: {before}, now {now}{'' if before == now else ': differs'}"))
    same = recorded.get("weights_sha256") == again.get("weights_sha256")
    console.print("weights: " + ("equal to the last bit" if same else "differ"))
    return int(bool(differ) or not same)


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Run a training again, and compare weights and scores.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results.json of a run")
    parser.add_argument(
        "--savedir",
        type=Path,
        default=Path("runs"),
        help="folder for the new run, NAME-again (default: runs)",
    )
    return parser


if __name__ == "__main__":
    run(main)
