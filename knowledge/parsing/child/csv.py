"""Comma-separated values: one table."""

import csv
from collections.abc import Iterator

from .encoding import decode
from .items import block, row


def read(data: bytes) -> Iterator[dict]:
    """The rows as one table, whatever parts the cells."""
    text = decode(data)
    rows = csv.reader(text.splitlines(keepends=True), delimiter=_delimiter(text))
    lines = [row(cells) for cells in rows if any(cell.strip() for cell in cells)]
    if lines:
        yield block("\n".join(lines), "table")


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t|", key=first.count)
