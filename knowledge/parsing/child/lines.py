"""The lines of a PDF page in reading order, with the size and place of their type."""

import math
import re
from collections.abc import Iterator
from ctypes import byref, c_double, c_int, create_string_buffer
from dataclasses import dataclass, field
from statistics import median

import pypdfium2
import pypdfium2.raw as raw

from . import rows

_GAP = 1.2  # in heights of the type: wider than between words
_BOLD = re.compile(rb"bold|black|heavy|-medi|cmbx", re.I)
_TYPOGRAPHIC = str.maketrans({"\ufffe": "\xad", "\x02": "\xad", "\uf0b7": "•", "\uf0a7": "▪"})

Segment = tuple[float, float, float, float]  # left, bottom, right, top, in points from the lower left corner


@dataclass(slots=True)
class Line:
    """One line of type, or a row of cells side by side, each of one line or more. All measures in points."""

    text: str
    size: float
    bold: bool
    left: float
    bottom: float
    right: float
    top: float
    cells: list[str] = field(default_factory=list)


def page_lines(page: pypdfium2.PdfPage) -> list[Line]:
    """All lines of a page. On a page of two columns the left one comes first."""
    textpage = page.get_textpage()
    try:
        found = list(_found(textpage))
        gutter = _gutter([segment for _, _, segments in found for segment in segments])
        lines = [line for start, count, segments in found for line in _lines(textpage, start, count, segments)]
    finally:
        textpage.close()
        page.close()
    return rows.gathered(lines) if gutter is None else _in_columns(lines, gutter)


def _found(textpage: pypdfium2.PdfTextPage) -> Iterator[tuple[int, int, list[Segment]]]:
    """(first character, count, segments) of each line that shows something."""
    place = 0  # PDFium counts in UTF-16
    for text in textpage.get_text_range().split("\r\n"):
        units = len(text.encode("utf-16-le")) // 2
        if text.strip():
            start = raw.FPDFText_GetCharIndexFromTextIndex(textpage, place)
            end = raw.FPDFText_GetCharIndexFromTextIndex(textpage, place + units - 1)
            if 0 <= start <= end and (segments := _segments(textpage, start, end - start + 1)):
                yield start, end - start + 1, segments
        place += units + 2


def _segments(textpage: pypdfium2.PdfTextPage, start: int, count: int) -> list[Segment]:
    """The boxes of a line's type, from left to right; those a word's space apart are one."""
    boxes = []
    left, top, right, bottom = c_double(), c_double(), c_double(), c_double()
    for n in range(raw.FPDFText_CountRects(textpage, start, count)):
        raw.FPDFText_GetRect(textpage, n, byref(left), byref(top), byref(right), byref(bottom))
        if right.value - left.value > 0.1:
            boxes.append((left.value, bottom.value, right.value, top.value))
    merged: list[Segment] = []
    height = max((box[3] - box[1] for box in boxes), default=0)
    for box in sorted(boxes):
        if merged and box[0] - merged[-1][2] < _GAP * height:
            last = merged.pop()
            box = (last[0], min(last[1], box[1]), max(last[2], box[2]), max(last[3], box[3]))
        merged.append(box)
    return merged


def _lines(textpage: pypdfium2.PdfTextPage, start: int, count: int, segments: list[Segment]) -> Iterator[Line]:
    """Each segment as a line of its own."""
    if len(segments) == 1:
        found = [(start, _tidy(textpage.get_text_range(start, count)), segments[0])]
    else:
        found = _parted(textpage, start, count, segments)
    for first, text, segment in found:
        if text:
            yield _set(textpage, first, text, segment)


def _parted(
    textpage: pypdfium2.PdfTextPage, start: int, count: int, segments: list[Segment]
) -> Iterator[tuple[int, str, Segment]]:
    """(first character, text, segment) of each segment of a line."""
    words: list[list[str]] = [[] for _ in segments]
    first = [start] * len(segments)
    left, right, bottom, top = c_double(), c_double(), c_double(), c_double()
    at = 0
    for n in range(start, start + count):
        letter = chr(raw.FPDFText_GetUnicode(textpage, n) or 0xFFFD)
        if not letter.isspace() and raw.FPDFText_GetCharBox(
            textpage, n, byref(left), byref(right), byref(bottom), byref(top)
        ):
            middle = (left.value + right.value) / 2
            at = min(range(len(segments)), key=lambda i: _distance(segments[i], middle))
            if not words[at]:
                first[at] = n
        words[at].append(letter)
    for n, segment in enumerate(segments):
        yield first[n], _tidy("".join(words[n])), segment


def _distance(segment: Segment, x: float) -> float:
    return max(segment[0] - x, x - segment[2], 0)


def _set(textpage: pypdfium2.PdfTextPage, start: int, text: str, segment: Segment) -> Line:
    """A line with its type, judged by a letter at its start, middle and end: a name or code inside does not count.

    Its bottom and top follow from the baseline and the size, because boxes differ between fonts.
    """
    places = (start, start + len(text) // 2, start + len(text) - 1)
    sizes = sorted(size for place in places if (size := _size(textpage, place)))
    size = sizes[len(sizes) // 2] if sizes else max(1.0, segment[3] - segment[1])
    x, baseline = c_double(), c_double()
    if not raw.FPDFText_GetCharOrigin(textpage, start, byref(x), byref(baseline)):
        baseline.value = segment[1]
    bold = all(_is_bold(textpage, place) for place in places)
    bottom = baseline.value - 0.22 * size
    return Line(text, round(2 * size) / 2, bold, segment[0], bottom, segment[2], bottom + size)


def _size(textpage: pypdfium2.PdfTextPage, index: int) -> float:
    matrix = raw.FS_MATRIX()
    if not raw.FPDFText_GetMatrix(textpage, index, byref(matrix)):
        return 0.0
    return raw.FPDFText_GetFontSize(textpage, index) * math.hypot(matrix.c, matrix.d)


def _is_bold(textpage: pypdfium2.PdfTextPage, index: int) -> bool:
    if raw.FPDFText_GetFontWeight(textpage, index) >= 600:
        return True
    name, flags = create_string_buffer(128), c_int()
    raw.FPDFText_GetFontInfo(textpage, index, name, 128, byref(flags))
    return bool(_BOLD.search(name.value))


def _tidy(text: str) -> str:
    return " ".join(text.translate(_TYPOGRAPHIC).split())


def _gutter(segments: list[Segment]) -> float | None:
    """Where a page parts into two columns of running text.

    In its middle third at most a tenth of the segments cross that place, three in ten stand on each side, and
    they fill their column: else it is a table, whose rows belong together.
    """
    if len(segments) < 12:
        return None
    left, right = min(s[0] for s in segments), max(s[2] for s in segments)
    third = (right - left) / 3
    places = sorted({s[2] + 1 for s in segments if left + third < s[2] + 1 < right - third})
    for x in places:
        before = [s for s in segments if s[2] <= x]
        behind = [s for s in segments if s[0] >= x]
        crossing = len(segments) - len(before) - len(behind)
        enough = min(len(before), len(behind)) >= 0.3 * len(segments)
        if enough and crossing <= 0.1 * len(segments) and _fill(before) and _fill(behind):
            return x
    return None


def _fill(side: list[Segment]) -> bool:
    width = max(s[2] for s in side) - min(s[0] for s in side)
    return median(s[2] - s[0] for s in side) >= 0.6 * width


def _in_columns(lines: list[Line], gutter: float) -> list[Line]:
    """Between two lines that cross the gutter: first what is left of it, then what is right."""
    across = [line.top for line in lines if line.left < gutter < line.right]

    def order(line: Line) -> tuple[int, int, float]:
        side = 2 if line.left < gutter < line.right else int(line.left >= gutter)
        return sum(top > line.top for top in across), side, -line.top

    return sorted(lines, key=order)
