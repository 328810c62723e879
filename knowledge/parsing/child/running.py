"""Takes out what a PDF's pages repeat at their top and bottom: running titles, page numbers."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import product

from .lines import Line

_EDGE_LINES = 2
_NUMBER = re.compile(r"\d{1,6}")
_PAGE_NUMBER = re.compile(r"\W*(page|seite|p\.)?\s*(\d{1,4}|[ivxl]{1,7})(\s*(of|von|/)\s*\d{1,4})?\W*", re.I)


def without(pages: list[list[Line]]) -> list[list[Line]]:
    """The same pages without running lines.

    A line runs if its like stands at the edge of three pages and of a tenth of all: the same words, with numbers
    that stay or count the pages. Rows of a long table, which are alike too, do not.
    """
    if len(pages) < 2:
        return pages
    edges = [{key for line in _edge(lines) for key in _keys(line, n)} for n, lines in enumerate(pages)]
    times = Counter(key for keys in edges for key in keys)
    running = {key for key, count in times.items() if count >= max(3, len(pages) / 10)}
    kept: set[str] = set()
    return [_without(lines, n, running, kept) for n, lines in enumerate(pages)]


def _without(lines: list[Line], page: int, running: set[str], kept: set[str]) -> list[Line]:
    gone = set()
    for line in _edge(lines):
        found = running.intersection(_keys(line, page))
        if line.cells and found and line.text not in kept and line.text in found:
            kept.add(line.text)  # the head of a table that goes on over pages is needed once
        elif found or _PAGE_NUMBER.fullmatch(line.text):
            gone.add(id(line))
    return [line for line in lines if id(line) not in gone]


def _edge(lines: list[Line]) -> list[Line]:
    down = sorted(lines, key=lambda line: -line.top)
    return down[:_EDGE_LINES] + down[-_EDGE_LINES:]


def _keys(line: Line, page: int) -> Iterator[str]:
    """The line's words, with each number (up to three) as it is and as its distance from the page's."""
    parts = _NUMBER.split(line.text)
    numbers = [(text, f"#{int(text) - page:+}") for text in _NUMBER.findall(line.text)]
    for choice in product(*numbers[:3], *((text,) for text, _ in numbers[3:])):
        yield "".join(a + b for a, b in zip(parts, (*choice, ""), strict=True))
