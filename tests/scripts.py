"""Scripts run by path, in processes forked from one that has loaded the libraries already.

Starting Python and loading torch takes seconds, two steps of a tiny network do not. Nothing of this
project is loaded before: its imports start from the script's folder, as where a user starts it.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    *("accelerate", "cv2", "matplotlib.pyplot", "scipy.optimize", "timm.utils", "torchmetrics"),
    *("torch.utils.tensorboard", "torchvision.transforms.v2"),
)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(list(LIBRARIES))


@dataclass
class Script:
    """A script that was started; its output, stderr included, goes to a file."""

    process: BaseProcess
    output: Path

    def wait(self) -> int:
        """The exit status, minus the signal where that ended it."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")


def start(script: str | Path, words: Sequence[object], cwd: Path) -> Script:
    """Start a script, whose path is as seen from `cwd`, with flags."""
    descriptor, output = tempfile.mkstemp(suffix=".txt", dir=cwd)
    os.close(descriptor)
    argv = [str(script), *map(str, words)]
    process = PROCESSES.Process(target=_run, args=(argv, cwd, output, dict(os.environ)))
    process.start()
    return Script(process, Path(output))


def execute(script: str | Path, words: Sequence[object], cwd: Path) -> str:
    """Run a script to its end; return what it printed, or fail with all of it."""
    started = start(script, words, cwd)
    status = started.wait()
    assert status == 0, f"{script} ended with {status}:\n{started.printed}"
    return started.printed


def _run(argv: list[str], cwd: Path, output: str, environment: dict[str, str]) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(cwd)
    multiprocessing.set_start_method(None, force=True)  # loaders start workers as they always do
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    script = Path(argv[0]).resolve()
    sys.path = [str(script.parent), *(path for path in sys.path if path not in ("", str(ROOT)))]
    runpy.run_path(str(script), run_name="__main__")
