"""Word documents: paragraphs, headings, lists and tables in their order."""

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO

import docx
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement

from .items import Failure, block, head, row

_MAX_ENTRIES, _MAX_UNPACKED, _MAX_TEXT = 5_000, 200 * 1024**2, 64 * 1024**2
_OLE = b"\xd0\xcf\x11\xe0"
_P, _TABLE, _CONTROL, _INS = qn("w:p"), qn("w:tbl"), qn("w:sdt"), qn("w:ins")
_HEADING = re.compile(r"heading (\d)$", re.I)


def read(data: bytes) -> Iterator[dict]:
    """Blocks of the document's body; what stands in headers, footers and comments is left out."""
    names = _look_inside(data)
    document = docx.Document(BytesIO(data))
    blocks = list(_blocks(_style_names(document), document.element.body))
    if not blocks:
        raise Failure("scanned" if any(name.startswith("word/media/") for name in names) else "empty")
    titles = (item["text"] for item in blocks if item["kind"] == "heading")
    yield head(document.core_properties.title or next(titles, ""))
    yield from blocks


def _look_inside(data: bytes) -> list[str]:
    """The names in the archive, refused before anything is unpacked if it would be too much."""
    if data.startswith(_OLE):
        encrypted = "EncryptedPackage".encode("utf-16-le") in data
        raise Failure("locked") if encrypted else Failure("unsupported", "old_word")
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = archive.infolist()
    if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > _MAX_UNPACKED:
        raise Failure("too_large")
    if any(entry.flag_bits & 1 for entry in entries):
        raise Failure("locked")
    if any(entry.file_size > _MAX_TEXT for entry in entries if entry.filename == "word/document.xml"):
        raise Failure("too_large")
    names = [entry.filename for entry in entries]
    if "word/vbaProject.bin" in names:
        raise Failure("unsupported", "macros")
    if "word/document.xml" not in names:
        raise Failure("unsupported", "archive")
    return names


def _style_names(document: Document) -> dict[str, str]:
    """What kind of paragraph each style id makes; a style made from a heading is one."""
    names = {}
    for style in document.styles:
        if style.type == WD_STYLE_TYPE.PARAGRAPH:
            name, base = style.name or "", style.base_style
            for _ in range(10):
                if _level(name) or base is None:
                    break
                name, base = (base.name or "") if _level(base.name or "") else name, base.base_style
            names[style.style_id] = name
    return names


def _blocks(styles: dict[str, str], parent: BaseOxmlElement) -> Iterator[dict]:
    items: list[str] = []  # lines of the list being read
    for element in parent.iterchildren():
        paragraph = element.tag == _P
        text = _words(element) if paragraph else ""
        style = styles.get(element.style or "", "") if paragraph else ""
        if text.strip() and _is_item(element, style):
            items.append(f"- {text.strip()}")
            continue
        if items and (text.strip() or not paragraph):
            yield block("\n".join(items))
            items = []
        if text.strip():
            level = _level(style)
            yield block(text, "heading", level=level) if level else block(text)
        elif element.tag == _TABLE:
            yield from _table(element)
        elif element.tag in (_CONTROL, _INS):  # a control holds its blocks in sdtContent
            content = element.find(qn("w:sdtContent"))
            yield from _blocks(styles, element if content is None else content)
    if items:
        yield block("\n".join(items))


def _level(style: str) -> int | None:
    match = _HEADING.match(style)
    if match:
        return int(match.group(1)) + 1
    return 1 if style == "Title" else None


def _is_item(paragraph: BaseOxmlElement, style: str) -> bool:
    properties = paragraph.pPr
    numbered = properties is not None and properties.numPr is not None
    return not _level(style) and (numbered or style.startswith("List "))


def _words(element: BaseOxmlElement) -> str:
    """All text below an element that Word would print: also in links and insertions, not in deletions."""
    words = []
    for run in element.iter(qn("w:r")):
        if run.find(f"{qn('w:rPr')}/{qn('w:vanish')}") is not None or _is_copy(run):
            continue
        for part in run.iterchildren():
            if part.tag == qn("w:t"):
                words.append(part.text or "")
            elif part.tag in (qn("w:br"), qn("w:cr")):
                words.append("\n")
            elif part.tag in (qn("w:tab"), qn("w:noBreakHyphen")):
                words.append("-" if part.tag == qn("w:noBreakHyphen") else "\t")
    return "".join(words)


def _is_copy(run: BaseOxmlElement) -> bool:
    """Text boxes stand in a document twice: once for newer, once for older programs."""
    return any(parent.tag.endswith("}Fallback") for parent in run.iterancestors())


def _table(table: BaseOxmlElement) -> Iterator[dict]:
    above: dict[int, str] = {}  # the text of each column's last cell, for cells merged with it
    rows = [row(_cells(line, above)) for line in table.iterchildren(qn("w:tr"))]
    rows = [text for text in rows if text.strip(" |")]
    if rows:
        yield block("\n".join(rows), "table" if len(rows) > 1 else "text")


def _cells(line: BaseOxmlElement, above: dict[int, str]) -> list[str]:
    cells, column = [], 0
    for cell in line.iter(qn("w:tc")):
        if next(cell.iterancestors(qn("w:tr"))) is not line:
            continue  # of a table inside a cell, whose words its cell has
        merged = cell.find(f"{qn('w:tcPr')}/{qn('w:vMerge')}")
        if merged is None or merged.get(qn("w:val")) == "restart":
            words = (_words(paragraph) for paragraph in cell.iter(_P))
            above[column] = " ".join(text for text in words if text.strip())
        cells.append(above.get(column, ""))
        span = cell.find(f"{qn('w:tcPr')}/{qn('w:gridSpan')}")
        column += int(span.get(qn("w:val"), 1)) if span is not None else 1
    return cells
