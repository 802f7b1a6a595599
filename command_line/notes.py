"""Notes: what a user should know although the command continues."""

import os
import sys
from functools import cache


@cache
def note(text: str) -> None:
    """Print `note: ...` on stderr, once per command: only the first of several processes does."""
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {text}", file=sys.stderr)
