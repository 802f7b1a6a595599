"""Train one student by every method with the same flags, and write one table.

    python train/sweep.py --output results/methods.md -- --dataset CWFID --datadir D --max-steps 200

What stands after `--` goes to train_sekd.py. A method whose run has ended already is not trained
again, and one that was interrupted is resumed, so an interrupted sweep is continued by the same
command.
"""

import csv
import shlex
import subprocess
import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from command_line.cli import OneLineParser, run
from command_line.outputs import check_target, replacing
from eval.reporting.markdown import markdown_table
from losses import METHODS
from models import load_checkpoint
from train.options import parse_options
from train.run_folder import BEST, LAST, LOG

SCRIPT = Path(__file__).with_name("train_sekd.py")
SHARE = 0.1  # of the run that its first and its last loss are averaged over


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    flags = [word for word in args.flags if word != "--"]
    check_target(args.output, "--output")
    methods = args.methods.split(",")
    for method in methods:  # all of them, before hours are spent on the first
        options = parse_options("sekd", [*flags, "--method", method], model="SegformerB0")
    savedir = options.savedir
    rows = []
    for method in methods:
        train_method(method, flags, savedir / method)
        rows.append({"method": method, **losses_of(savedir / method / LOG)})
        scores = load_checkpoint(savedir / method / BEST)[1]["metrics"]
        rows[-1]["mIoU"] = f"{100 * scores['miou']:.2f}" if "miou" in scores else "-"
        with replacing(args.output) as temporary:
            temporary.write_text(document(args.title, flags, rows), encoding="utf-8")
    print(f"table: {args.output}")


def train_method(method: str, flags: list[str], folder: Path) -> None:
    """Train, resume, or leave alone what has ended.

    Raises:
        ValueError: the training script failed; it has said why.
    """
    words = [*flags, "--method", method, "--run-name", folder.name, "--savedate", "false"]
    # What was killed before its first checkpoint begins anew.
    words.append("--resume" if (folder / LAST).exists() else "--overwrite")
    if status := run_script(words):
        raise ValueError(f"--method {method} ended with status {status}; see above")


def run_script(words: list[str]) -> int:
    """Run train_sekd.py with these flags; return its status."""
    process = subprocess.Popen([sys.executable, str(SCRIPT), *words])
    try:
        return process.wait()
    except KeyboardInterrupt:  # it has heard the same Ctrl-C, and saves before it ends
        process.wait()
        raise


def losses_of(log: Path) -> dict[str, str]:
    """First and last loss of a run, as means over a share of its epochs, and their ratio."""
    with log.open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    count = max(1, round(SHARE * len(losses)))
    first, last = (sum(part) / count for part in (losses[:count], losses[-count:]))
    return {
        "first loss": f"{first:.3f}",
        "last loss": f"{last:.3f}",
        "last / first": f"{last / first:.2f}",
    }


def document(title: str, flags: list[str], rows: list[dict[str, str]]) -> str:
    """Return a Markdown section: the command and the table."""
    command = shlex.join(["python", "train/train_sekd.py", *flags, "--method"])
    table = markdown_table(list(rows[0]), [list(row.values()) for row in rows])
    return f"## {title}\n\n```\n{command} METHOD\n```\n\n{table}"


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Train one student by every method with the same flags.")
    parser.add_argument(
        "--methods",
        default=",".join([*METHODS, "none"]),
        help="comma list; a+b joins two (default: all, and none)",
    )
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--title", default="Methods", help="heading of the section")
    parser.add_argument("flags", nargs="*", metavar="-- FLAGS", help="flags of train_sekd.py")
    return parser


if __name__ == "__main__":
    run(main)
