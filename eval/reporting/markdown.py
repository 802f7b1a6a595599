"""Tables in Markdown."""

from collections.abc import Collection, Sequence


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] | None = None
) -> str:
    """Return a table, one line per row, each with a line feed.

    Args:
        columns: their titles.
        rows: of as many cells each.
        left: columns that are text; the others are numbers, to the right. None: the first one.
    """
    left = columns[:1] if left is None else left
    rules = ["---" if column in left else "---:" for column in columns]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, rules, *rows))
