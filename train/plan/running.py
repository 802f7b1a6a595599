"""Run the commands of a pipeline one after another, never two in the same folder at once."""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from command_line.notes import note
from command_line.outputs import replacing
from command_line.process_group import start, terminate, wait_for_all

ROOT = Path(__file__).resolve().parents[2]
LOCK = ".lock"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Hold the lock of a pipeline's folder; yield its file descriptor.

    A command that inherits the descriptor holds the lock as well: if a pipeline was killed but its
    command is still running, the next pipeline waits for it to end.
    """
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(
                f"another process works in {folder}, such as a command that has outlived its "
                "pipeline; waiting until it has ended. Ctrl-C stops the waiting"
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def typed(words: Sequence[str], launcher: Sequence[str] = ()) -> str:
    """Return a command as the user would type it in the current folder.

    Args:
        words: script, relative to the project root, and flags.
        launcher: what starts the script; this Python if empty.
    """
    script, *flags = words
    starter = launcher or [os.path.relpath(sys.executable)]
    return shlex.join([*starter, os.path.relpath(ROOT / script), *flags])


class Runner:
    """Starts commands and waits for them.

    Args:
        lock: file descriptor that commands inherit, see `claimed`.
        launcher: starts training scripts, such as `accelerate launch --num_processes 2`; other
            scripts, and these too if it is None, are started by this Python.

    Raises:
        ValueError: the launcher's program does not exist.
    """

    def __init__(self, lock: int, launcher: str | None = None) -> None:
        self.lock = lock
        self.launcher = shlex.split(launcher or "")
        if self.launcher and not shutil.which(self.launcher[0]):
            raise ValueError(f"--launcher {launcher}: there is no program {self.launcher[0]}")
        self.process: subprocess.Popen | None = None
        self.stopped = False

    def __call__(
        self, words: Sequence[str], record: Path | None = None, accepted: Sequence[int] = (0,)
    ) -> int:
        """Run a script of this project, and return its exit status.

        Args:
            words: script, relative to the project root, and flags.
            record: file for its output, which is then printed only when the script has ended.
            accepted: exit statuses for which `record` is written.

        Raises:
            KeyboardInterrupt: the user stopped the pipeline; the command has saved and exited.
        """
        script, *flags = words
        launcher = self.launcher if Path(script).name.startswith("train_") else []
        command = [*(launcher or [sys.executable]), str(ROOT / script), *flags]
        print(f"$ {typed(words, launcher)}", flush=True)
        if record is None:
            return self._wait(command, None)
        with tempfile.TemporaryFile() as output:
            status = self._wait(command, output)
            output.seek(0)
            text = output.read().decode(errors="replace")
        print(text, end="", flush=True)
        if status in accepted:
            with replacing(record) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return status

    def _wait(self, command: Sequence[str], output: IO[bytes] | None) -> int:
        with self._handing_on():
            # In its own process group, so that only `_hand_on` signals it: a second signal would
            # end it before it has saved.
            self.process = start(command, stdout=output, pass_fds=[self.lock])
            if self.stopped:  # while it was being started
                terminate(self.process)
            status = self.process.wait()
            if self.stopped:
                wait_for_all(self.process)
        if self.stopped:
            raise KeyboardInterrupt
        return status

    @contextmanager
    def _handing_on(self) -> Iterator[None]:
        """Forward signals to the command, except those that are ignored, as under nohup."""
        previous = {
            number: signal.signal(number, self._hand_on)
            for number in STOPPING
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _hand_on(self, number: int, frame: object) -> None:
        self.stopped = True
        if self.process is not None:
            terminate(self.process)
