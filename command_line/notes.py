"""Notes to the user that do not stop the command."""

import os
import sys
from functools import cache


@cache
def note(text: str) -> None:
    """Print `note: ...` on stderr, once per command and only in the first process."""
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {text}", file=sys.stderr)
