"""How every command parses its flags and exits: with a result, or with one line and a status."""

import argparse
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from command_line.ending import ENDING, end_quietly
from command_line.outages import end_readers, find_outage


class OneLineParser(argparse.ArgumentParser):
    """An argument parser with one-line errors and two levels of help.

    After `show_first`, `--help` shows the flags passed to it and the required ones, and
    `--help-all` shows every flag.
    """

    first: frozenset[str] | None = None

    def show_first(self, *flags: str) -> None:
        """Choose the flags that `--help` shows, and add `--help-all`."""
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
        """Return first-level help, or full help if `show_first` was not called."""
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

    A user's mistake, raised as ValueError or OSError, becomes one line on stderr and status 2; an
    outage, such as a full disk, one line and status 1. With `SEKD_DEBUG=1` in the environment
    both keep their traceback. Ctrl-C and SIGTERM end with status 130, as in a shell; if the command
    has already ended, its status is kept.

    Args:
        main: the command; its return value is the exit status, with None meaning 0.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that a log file can be followed
    hooks = threading.excepthook, sys.unraisablehook
    threading.excepthook = sys.unraisablehook = _leave_outages_to_main
    for each in ENDING:
        signal.signal(each, signal.default_int_handler)
    try:
        status = main() or 0
        end_quietly(status)
        end_readers()
    except BaseException as error:
        while True:
            try:
                end_quietly()
                end_readers()  # before the loaders are destroyed, which would wait for them
                break
            except RuntimeError:  # another worker died: PyTorch raises wherever we are
                continue
        ended = _status_of(error)
        if ended is None:
            raise
        status = ended
        end_quietly(status)
    finally:
        threading.excepthook, sys.unraisablehook = hooks
    sys.exit(status)


def _status_of(error: BaseException) -> int | None:
    """Return the exit status of an error that is reported in one line; None for a bug."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if _lost_its_reader(error):
        # The reader (`| head`) is gone. Python would raise once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    outage = find_outage(error)
    if outage is None and not isinstance(error, (ValueError, OSError)):
        return None
    if os.environ.get("SEKD_DEBUG") == "1":
        return None
    message = outage or str(error)
    message = " ".join(_without_worker_traceback(message).split())
    # It may quote an untrusted file: no character may control the terminal.
    message = "".join(each if each.isprintable() else "?" for each in message)
    print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    return 2 if outage is None else 1


def _lost_its_reader(error: BaseException) -> bool:
    """Whether writing to stdout failed; rich exits by itself then."""
    cause = error.__context__ if isinstance(error, SystemExit) else error
    return isinstance(cause, BrokenPipeError)


def _leave_outages_to_main(args: "threading.ExceptHookArgs | sys.UnraisableHookArgs") -> None:
    """Ignore outages raised in a thread or a finaliser: the main thread hits them too.

    Ctrl-C raised in a finaliser, or in a library's fork handler, would be lost: exit at once.
    """
    if isinstance(args.exc_value, KeyboardInterrupt):
        os._exit(130)
    if find_outage(args.exc_value) is None:
        if isinstance(args, threading.ExceptHookArgs):
            threading.__excepthook__(args)
        else:
            sys.__unraisablehook__(args)


def _without_worker_traceback(message: str) -> str:
    """Restore the message of a DataLoader worker's error, which is replaced by a traceback."""
    if not re.match(r"Caught \w+ in DataLoader worker", message):
        return message
    *_, last = re.split(r"^[\w.]+(?:Error|Exception): ", message, flags=re.MULTILINE)
    return last
