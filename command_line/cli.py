"""How every command parses its flags and how it ends: a result, or one line and a status."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose error is one line, and whose help has two levels.

    After `show_first`, ``--help`` shows the flags that it names and those that are required, and
    ``--help-all`` shows every flag.
    """

    first: frozenset[str] | None = None

    def show_first(self, *flags: str) -> None:
        """Choose the flags that ``--help`` shows, and add ``--help-all``."""
        known = {flag for action in self._actions for flag in action.option_strings}
        assert known.issuperset(flags), f"no such flags: {set(flags) - known}"
        self.first = frozenset(flags)
        self.add_argument(
            "--help-all",
            action=_HelpAll,
            nargs=0,
            dest=argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            help="show all flags",
        )

    def format_help(self) -> str:
        """Return the help of the first level, or of everything without `show_first`."""
        if self.first is None:
            return super().format_help()
        kept = self.first | {"--help", "--help-all"}
        hidden = [
            action
            for action in self._actions
            if action.option_strings
            and not action.required
            and not kept.intersection(action.option_strings)
        ]
        texts = [action.help for action in hidden]
        try:
            for action in hidden:
                action.help = argparse.SUPPRESS
            return f"{super().format_help()}\n--help-all shows {len(hidden)} more flags\n"
        finally:
            for action, text in zip(hidden, texts, strict=True):
                action.help = text

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog.split()[0]}: error: {message}\n")  # without a sub-command


class _HelpAll(argparse.Action):
    """Print the help of all flags and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        assert isinstance(parser, OneLineParser)
        parser.first = None
        parser.print_help()
        parser.exit()


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
