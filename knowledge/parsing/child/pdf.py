"""PDF: headings known by their size, tables by their gaps. `lines` reads, this module understands."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import mode

import pypdfium2
import pypdfium2.raw as raw

from . import running
from .items import Failure, block, head
from .lines import Line, page_lines
from .rows import MARK

_MAX_PAGES = 5_000
_MAX_HEADING, _HEADING_LINES = 150, 3
_LEADER = re.compile(r"(\. ?){4}")  # of a table of contents
_PROGRAM = re.compile(r"^Microsoft (Word|PowerPoint) - |\.(docx?|pptx?|indd|odt|rtf|tex|pdf)$", re.I)


def read(data: bytes) -> Iterator[dict]:
    """Blocks page by page."""
    document = _open(data)
    if len(document) > _MAX_PAGES:
        raise Failure("too_large")
    pages = [page_lines(document[number]) for number in range(len(document))]
    if not any(pages):
        raise Failure("scanned" if _shows_something(document) else "empty")
    pages = running.without(pages)
    levels = _Levels(line for lines in pages for line in lines)
    blocks = [item for number, lines in enumerate(pages, 1) for item in _blocks(lines, number, levels)]
    yield head(_title(document, blocks), len(pages))
    yield from blocks


def _open(data: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise Failure("locked") from error
        raise Failure("too_large" if error.err_code == raw.FPDF_ERR_UNKNOWN else "damaged") from error


def _shows_something(document: pypdfium2.PdfDocument) -> bool:
    first = (document[number] for number in range(min(len(document), 20)))
    return any(next(page.get_objects(max_depth=2), None) is not None for page in first)


class _Levels:
    """Which lines are headings, and how high: by their size beside the body's, then by bold type."""

    def __init__(self, lines: Iterable[Line]):
        written: Counter[tuple[float, bool]] = Counter()
        for line in lines:
            written[line.size, line.bold] += len(line.text)
        self.body, self.body_bold = max(written, key=written.get, default=(0.0, False))
        larger = {size for size, _ in written if size >= self.body * 1.12}
        self.sizes = sorted(larger, reverse=True)

    def of(self, lines: list[Line]) -> int | None:
        """The level of lines that belong together, None if they are no heading."""
        text = " ".join(line.text for line in lines)
        if len(lines) > _HEADING_LINES or len(text) > _MAX_HEADING or text.endswith((".", ",", ";")):
            return None
        if not re.search(r"[^\W\d_]{2}", text) or _LEADER.search(text) or lines[0].cells:
            return None
        if lines[0].size in self.sizes:
            return min(self.sizes.index(lines[0].size) + 1, 5)
        if lines[0].bold and not self.body_bold and lines[0].size >= self.body * 0.95 and not text.endswith(":"):
            return min(len(self.sizes) + 1, 6)
        return None


def _blocks(lines: list[Line], page: int, levels: _Levels) -> Iterator[dict]:
    for group in _paragraphs(lines):
        level = levels.of(group)
        if level:
            yield block(" ".join(line.text for line in group), "heading", page=page, level=level)
        elif group[0].cells:
            kind = "table" if len(group) > 1 else "text"
            yield block("\n".join(" | ".join(line.cells) for line in group), kind, page=page)
        else:
            yield block(_joined(group), page=page)


def _paragraphs(lines: list[Line]) -> Iterator[list[Line]]:
    """Lines that belong together: same type, no more than the usual distance apart."""
    steps = [
        round((above.bottom - line.bottom) / line.size, 1)
        for above, line in zip(lines, lines[1:], strict=False)
        if above.size == line.size and not above.cells and not line.cells
    ]
    usual = mode([step for step in steps if 0.8 <= step <= 2] or [1.2])
    group: list[Line] = []
    for line in lines:
        if group and _begins(group, line, usual):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _begins(group: list[Line], line: Line, usual: float) -> bool:
    """Whether a line opens a new paragraph."""
    above = group[-1]
    if above.cells and line.cells:
        return above.bottom - line.top > 2.5 * line.size
    if above.bold != line.bold or above.cells or line.cells:
        return True
    if abs(above.size - line.size) > 0.08 * line.size:
        return True
    step = above.bottom - line.bottom
    if step < 0:  # the next column: a sentence may go on there
        return above.text.endswith((".", ":", "!", "?")) or not line.text[:1].islower()
    return step > 1.3 * usual * line.size


def _joined(lines: list[Line]) -> str:
    """One paragraph of several lines. Short lines and list items stay apart."""
    reach = max(line.right for line in lines)
    text = lines[0].text
    for above, line in zip(lines, lines[1:], strict=False):
        if text.endswith(("-", "\xad")) and line.text[:1].islower():
            text = text[:-1] + line.text
        elif _begins_item(line.text) or above.right < above.left + 0.7 * (reach - above.left):
            text += "\n" + line.text
        else:
            text += " " + line.text
    return text


def _begins_item(text: str) -> bool:
    return bool(MARK.fullmatch(text.split(" ", 1)[0])) and " " in text


def _title(document: pypdfium2.PdfDocument, blocks: list[dict]) -> str:
    written = document.get_metadata_value("Title").strip()
    if written and not _PROGRAM.search(written) and written.lower() != "untitled":
        return written
    headings = [item for item in blocks if item["kind"] == "heading" and item["page"] == 1]
    return min(headings, key=lambda item: item["level"])["text"] if headings else ""
