"""Cuts a parsed document into passages that follow its sections.

Whole sections are packed up to a target size. One that is too long is cut at sentences, with some overlap, or at
table rows, with the table's header repeated. Sections never overlap each other: headings are worth more than that.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from knowledge.parsing.parsed import Block, Parsed

_SENTENCE_END = re.compile(r"(?<=[.!?…])[)\"'”’»]*\s+|(?<=[。！？])|\n+")
_WORD = re.compile(r"\S+")
_PIECE = re.compile(r"[^\W\d_]+|\d{1,3}|[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage.

    n           its number in the document, from 0
    text        what is cited; a table that was cut begins with its header again
    page        where most of it stands; None where the format has no pages
    heading     the headings that all of it stands under, joined by " > "; may be empty
    char_start  its place in `Parsed.text` without a repeated header; char_end is behind its last character
    embed_text  what is embedded and searched: title > heading, then the text
    """

    n: int
    text: str
    page: int | None
    heading: str
    char_start: int
    char_end: int
    embed_text: str


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, a line or a row: what is cut no further. header is repeated where a passage begins with it."""

    start: int
    end: int
    page: int | None
    tokens: float
    header: str = ""
    is_row: bool = False


@dataclass(slots=True)
class _Section:
    """start is where its heading stands, if it has one; its path ends with that heading if `headed`."""

    path: tuple[str, ...]
    start: int
    units: list[_Unit]
    headed: bool = True


def tokens(text: str) -> int:
    """About how many tokens a model makes of a text; rather too many than too few."""
    return math.ceil(_tokens(text))


def split(parsed: Parsed, *, max_tokens: int = 240, target_tokens: int = 200, overlap_tokens: int = 40) -> list[Chunk]:
    """Cut a document into passages. The same document always gives the same ones.

    max_tokens      no passage's embed_text is estimated larger: 240 for models of 256 tokens, 350 for larger ones
    target_tokens   where packing stops
    overlap_tokens  how much of the sentences before is repeated inside a section that had to be cut
    """
    return _Splitter(parsed, max_tokens, target_tokens, overlap_tokens).chunks()


class _Splitter:
    def __init__(self, parsed: Parsed, most: int, target: int, overlap: int):
        self.parsed, self.text = parsed, parsed.text
        self.most, self.target, self.overlap = most, target, overlap
        self.made: list[Chunk] = []

    def chunks(self) -> list[Chunk]:
        group: list[_Section] = []
        for section in self._sections():
            if group and not self._fits(group, section):
                self._emit(group)
                group = []
            group.append(section)
        if group:
            self._emit(group)
        return self.made

    def _sections(self) -> Iterator[_Section]:
        """Headings with what stands directly below them. A heading that only has others below it is in their path."""
        blocks = self.parsed.blocks
        section: _Section | None = None
        header = ""  # of the table just before
        for block, following in pairwise([*blocks, None]):
            if block.kind == "heading":
                if section:
                    yield section
                section = _Section(block.heading, block.char_start, [])
                alone = following is None or following.kind == "heading"
                if alone and (following is None or following.heading[: len(block.heading)] != block.heading):
                    yield _Section(block.heading[:-1], block.char_start, list(self._units(block)), headed=False)
                if alone:
                    section = None
                continue
            if section is None:
                section = _Section(block.heading, block.char_start, [])
            if not section.units or not _goes_on(header, block, section.units[-1].page):
                header = ""
            section.units += self._units(block, header)
            header = (header or block.text.split("\n", 1)[0]) if block.kind == "table" else ""
        if section:
            yield section

    def _units(self, block: Block, header: str = "") -> Iterator[_Unit]:
        """header  of a table on the page before that goes on in this block"""
        room = self.most - _tokens(self._prefix(block.heading))
        if block.kind != "table":
            for start, end in _sentences(block.text):
                yield from self._cut(block, start, end, room)
            return
        own = block.text.split("\n", 1)[0]
        repeated = "" if _tokens(header or own) > room / 3 else header or own
        for n, (start, end) in enumerate(_rows(block.text)):
            begins = n == 0 and (not header or header == own)
            yield from self._cut(block, start, end, room - _tokens(repeated), "" if begins else repeated, True)

    def _cut(
        self, block: Block, start: int, end: int, room: float, header: str = "", is_row: bool = False
    ) -> Iterator[_Unit]:
        for first, last, size in _pieces(block.text, start, end, room):
            yield _Unit(block.char_start + first, block.char_start + last, block.page, size, header, is_row)

    def _fits(self, group: list[_Section], section: _Section) -> bool:
        if group[-1].units[-1].page != section.units[0].page:  # so that the page we cite is the right one
            return False
        if sum(unit.tokens for unit in section.units) > self.target:
            return False
        path, start = self._shared([*group, section])
        if len(group[0].path) > len(path) + group[0].headed:  # a heading above the first would be lost
            return False
        return self._size(path, start, section.units[-1].end) <= self.target

    def _size(self, path: tuple[str, ...], start: int, end: int, header: str = "") -> float:
        return _tokens(self._prefix(path)) + _tokens(header) + _tokens(self.text[start:end])

    def _shared(self, group: list[_Section]) -> tuple[tuple[str, ...], int]:
        """The path that all sections share, and where their text begins: with the first heading that is not in it."""
        path = group[0].path
        for section in group[1:]:
            path = tuple(one for one, _ in _while_equal(path, section.path))
        return path, group[0].units[0].start if path == group[0].path else group[0].start

    def _emit(self, group: list[_Section]) -> None:
        units = [unit for section in group for unit in section.units]
        path, start = self._shared(group)
        first, left = 0, sum(unit.tokens for unit in units)
        if len(group) > 1 or left <= self.most and self._size(path, start, units[-1].end) <= self.most:
            self._add(path, start, units)
            return
        while first < len(units):
            start = self._overlapping(units, first, path)
            last = self._fill(units, first, start, path, left)
            left -= sum(unit.tokens for unit in units[first : last + 1])
            self._add(path, start, units[first : last + 1])
            first = last + 1

    def _fill(self, units: list[_Unit], first: int, start: int, path: tuple[str, ...], left: float) -> int:
        """The last unit that goes with the first: up to the target, or all that is left if that fits."""
        size = self._size(path, start, units[first].end, units[first].header)
        if size + left - units[first].tokens <= self.most:
            return len(units) - 1
        last = first
        for n in range(first + 1, len(units)):
            unit = units[n]
            size += unit.tokens
            turned = unit.page != units[last].page and size > self.target / 2
            if size > self.target or turned:
                break
            last = n
        return last

    def _overlapping(self, units: list[_Unit], first: int, path: tuple[str, ...]) -> int:
        """Where a passage begins that goes on with a unit: up to the overlap before it, at a sentence or a word."""
        unit = units[first]
        if first == 0 or unit.is_row or units[first - 1].is_row:
            return unit.start
        begin = unit.start
        for n in range(first - 1, -1, -1):
            before = units[n]
            if before.is_row or _tokens(self.text[before.start : unit.start]) > self.overlap:
                break
            begin = before.start
        if begin == unit.start:
            begin = self._last_words(units[first - 1], unit.start)
        return begin if self._size(path, begin, unit.end) <= self.most else unit.start

    def _last_words(self, unit: _Unit, end: int) -> int:
        begin = end
        for word in reversed(list(_WORD.finditer(self.text, unit.start, unit.end))):
            if _tokens(self.text[word.start() : end]) > self.overlap:
                break
            begin = word.start()
        return begin

    def _add(self, path: tuple[str, ...], start: int, units: list[_Unit]) -> None:
        header, end = units[0].header, units[-1].end
        text = f"{header}\n{self.text[start:end]}" if header else self.text[start:end]
        where: Counter[int | None] = Counter()
        for unit in units:
            where[unit.page] += unit.tokens
        prefix = self._prefix(path)
        heading = " > ".join(_without_title(self.parsed.title, path))
        embed_text = f"{prefix}\n{text}" if prefix else text
        page = max(where, key=where.get)
        self.made.append(Chunk(len(self.made), text, page, heading, start, end, embed_text))

    def _prefix(self, path: tuple[str, ...]) -> str:
        """title > heading path, a quarter of the passage at most: if need be without the outermost headings."""
        title, path = self.parsed.title, _without_title(self.parsed.title, path)
        words = " > ".join(filter(None, (title, *path)))
        while len(path) > 1 and _tokens(words) > self.most / 4:
            path = path[1:]
            words = " > ".join(filter(None, (title, *path)))
        start, end, _ = next(_pieces(words, 0, len(words), self.most / 4))
        return words[start:end]


def _while_equal(one: tuple[str, ...], other: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pair in zip(one, other, strict=False):
        if pair[0] != pair[1]:
            return
        yield pair


def _without_title(title: str, path: tuple[str, ...]) -> tuple[str, ...]:
    return path[1:] if path and path[0].casefold() == title.casefold() else path


def _tokens(text: str) -> float:
    """Words, signs and groups of digits, a little more than one each; long words and other scripts by letters."""
    pieces = _PIECE.findall(text)
    if text.isascii():
        return sum([length / 4 if length > 5 else 1.15 for length in map(len, pieces)])
    return sum(map(_piece_tokens, pieces))


def _piece_tokens(piece: str) -> float:
    return max(1.15, sum(0.25 if letter < "\x80" else 0.5 if letter < "\u2e80" else 1 for letter in piece))


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if text[start : end.start()].strip():
            closing = len(end.group().rstrip())  # a bracket or quotation mark belongs to its sentence
            yield start, end.start() + closing
            start = end.end()
    if text[start:].strip():
        yield start, len(text)


def _goes_on(header: str, block: Block, page_before: int | None) -> bool:
    """Whether a block is more of the table that ended the page before."""
    if not header or block.kind != "table" or block.page == page_before:
        return False
    return header.count(" | ") == block.text.split("\n", 1)[0].count(" | ")


def _rows(text: str) -> Iterator[tuple[int, int]]:
    """The rows of a table, the header together with the first of the others."""
    ends = [match.start() for match in re.finditer(r"\n", text)][1:] + [len(text)]
    start = 0
    for end in ends:
        yield start, end
        start = end + 1


def _pieces(text: str, start: int, end: int, room: float) -> Iterator[tuple[int, int, float]]:
    """(start, end, tokens) of pieces that fit: all of it, or cut between words, long words anywhere."""
    size = _tokens(text[start:end])
    if size <= room:
        yield start, end, size
        return
    first = last = start
    size = 0.0
    for low, high in _short_words(text, start, end, room):
        more = _tokens(text[low:high])
        if size and size + more > room:
            yield first, last, size
            size = 0.0
        first, last, size = first if size else low, high, size + more
    yield first, last, size


def _short_words(text: str, start: int, end: int, room: float) -> Iterator[tuple[int, int]]:
    for word in _WORD.finditer(text, start, end):
        low, high = word.span()
        step = high - low
        if _tokens(word.group()) > room:
            step = max(1, int(room / 1.2))  # no letter counts for more than 1.15
        for place in range(low, high, step):
            yield place, min(place + step, high)
