"""Tables in Markdown."""

from collections.abc import Collection, Sequence


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] | None = None
) -> str:
    """Return a table, one line per row, each with a trailing newline.

    Args:
        columns: column titles.
        rows: cells, as many per row as columns.
        left: left-aligned columns; the others are right-aligned. None means the first one.
    """
    left = columns[:1] if left is None else left
    rules = ["---" if column in left else "---:" for column in columns]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, rules, *rows))
