"""The one way in which a command of eval/ and train/ ends: a result, or one line and a status."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose error is one line, without the page of usage above it."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog.split()[0]}: error: {message}\n")  # without a sub-command


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit with its status.

    A user's mistake, raised as ValueError or OSError, becomes one line on stderr and status 2;
    with ``SEKD_DEBUG=1`` in the environment it keeps its traceback. Ctrl-C ends with status 130,
    as in a shell.

    Args:
        main: the command; its return value is the exit status, None standing for 0.
    """
    try:
        sys.exit(main() or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError) as error:
        if os.environ.get("SEKD_DEBUG") == "1":
            raise
        message = " ".join(_without_worker_traceback(str(error)).split())
        print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
        sys.exit(2)


def _without_worker_traceback(message: str) -> str:
    """Undo what a DataLoader makes of an error in a worker: its traceback as the message."""
    if not re.match(r"Caught \w+ in DataLoader worker", message):
        return message
    *_, last = re.split(r"^[\w.]+(?:Error|Exception): ", message, flags=re.MULTILINE)
    return last
