"""Finds the rows of tables among a PDF page's lines, by how they go on: to the right instead of below."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lines import Line

MARK = re.compile(r"[•◦▪‣●○■–*·-]|\d{1,2}[.)]|[a-z]\)")  # of a list item


@dataclass(slots=True)
class _Row:
    """What is known of a row so far: its cells, from left to right, each with its lines."""

    cells: "list[list[Line]]"

    @property
    def top(self) -> float:
        return max(line.top for cell in self.cells for line in cell)

    @property
    def bottom(self) -> float:
        return min(line.bottom for cell in self.cells for line in cell)

    @property
    def last(self) -> "Line":
        return self.cells[-1][-1]


def gathered(lines: "list[Line]") -> "list[Line]":
    """The same lines, with those that stand side by side as one, which then has cells."""
    rows: list[_Row] = []
    for line in lines:
        if rows and _is_beside(line, rows[-1]):
            if len(rows[-1].cells) == 1:
                _gather_first_cell(rows, line)
            rows[-1].cells.append([line])
        elif rows and len(rows[-1].cells) > 1 and _goes_on(line, rows[-1].last):
            rows[-1].cells[-1].append(line)
        else:
            rows.append(_Row([[line]]))
    return [_as_line(row) for row in rows]


def _is_beside(line: "Line", row: _Row) -> bool:
    """Whether a line begins the next cell: right of the last one and not below the row."""
    right = max(before.right for before in row.cells[-1])
    return line.left > right + 0.6 * line.size and row.bottom < line.top and line.bottom < row.top + 4 * line.size


def _goes_on(line: "Line", above: "Line") -> bool:
    step = above.bottom - line.bottom
    return abs(line.left - above.left) < 0.6 * line.size and 0 < step < 1.7 * line.size


def _gather_first_cell(rows: list[_Row], second: "Line") -> None:
    """Take the lines before into the first cell, if a cell of several lines was not known to be one.

    Cells are aligned at their top or in their middle, so the first reaches no further above the second cell's
    line than below it.
    """
    middle = (second.top + second.bottom) / 2
    reach = middle + (middle - (rows[-1].last.top + rows[-1].last.bottom) / 2) + 0.6 * second.size
    while len(rows) > 1 and len(rows[-2].cells) == 1:
        above, first = rows[-2].last, rows[-1].cells[0][0]
        if not _goes_on(first, above) or (above.top + above.bottom) / 2 > reach:
            return
        rows[-2].cells[0] += rows.pop().cells[0]


def _as_line(row: _Row) -> "Line":
    first = row.cells[0][0]
    if len(row.cells) == 1:
        return first
    cells = [" ".join(line.text for line in cell) for cell in row.cells]
    line = replace(
        first,
        text=" ".join(cells),
        bottom=row.bottom,
        top=row.top,
        right=max(line.right for cell in row.cells for line in cell),
    )
    if not (len(cells) == 2 and MARK.fullmatch(cells[0])):
        line.cells = cells
    return line
