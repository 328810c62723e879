"""Web pages: what a visitor would read, without menus, scripts and hidden text."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from .encoding import decode
from .items import block, head, row

_DROPPED = re.compile(
    "script|style|nav|noscript|template|svg|math|iframe|object|embed|canvas|audio|video|form|select|button|"
    "input|textarea|dialog|head|map|datalist"
)
_BLOCKS = re.compile(
    "p|div|section|article|main|header|footer|aside|ul|ol|li|dl|dt|dd|table|tr|blockquote|pre|figure|figcaption|"
    "address|details|summary|fieldset|hr|body|h[1-6]"
)
_ITEM = "- "
_HEADINGS = {f"h{n}": n for n in range(1, 7)}
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(hidden|collapse)|font-size\s*:\s*0|opacity\s*:\s*0(?!\.)", re.I
)
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.I)


def read(data: bytes) -> Iterator[dict]:
    """Headings, paragraphs and tables in their order."""
    declared = _CHARSET.search(data[:2048])
    tree = LexborHTMLParser(decode(data, declared.group(1).decode("ascii") if declared else ""))
    title = tree.css_first("title")
    yield head(title.text() if title else "")
    if tree.body is not None:
        yield from _Walk().blocks(tree.body)


def read_fragment(markup: str) -> Iterator[dict]:
    """The blocks of markup that stands inside another format."""
    tree = LexborHTMLParser(markup)
    if tree.body is not None:
        yield from _Walk().blocks(tree.body)


class _Walk:
    """Goes through a page from top to bottom, with a stack of its own: pages nest deeper than Python may."""

    def __init__(self):
        self.words: list[str] = []  # of the block being read
        self.items: list[str] = []  # lines of the list being read
        self.preformatted = 0
        self.rows: list[list[str]] | None = None  # of the table being read
        self.tables = 0

    def blocks(self, root: LexborNode) -> Iterator[dict]:
        """All blocks below a node."""
        waiting: list[tuple[LexborNode, bool]] = [(root, True)]
        while waiting:
            node, entering = waiting.pop()
            if not entering:
                yield from self._leave(node)
            elif node.is_text_node:
                self._say(node.text_content or "")
            elif node.is_element_node and not _is_hidden(node):
                yield from self._enter(node)
                waiting.append((node, False))
                waiting.extend((child, True) for child in reversed(list(node.iter(include_text=True))))
        yield from self._flush()
        yield from self._end_list()

    def _say(self, text: str) -> None:
        self.words.append(text if self.preformatted else re.sub(r"\s+", " ", text))

    def _enter(self, node: LexborNode) -> Iterator[dict]:
        tag = node.tag
        if tag == "table":
            if self.rows is None:
                yield from self._flush()
                yield from self._end_list()
                self.rows = []
            self.tables += 1
        elif self.rows is not None:
            self._enter_in_table(tag)
        elif _BLOCKS.fullmatch(tag):
            if self.words != [_ITEM]:  # else it is the first paragraph of a list item
                yield from self._flush()
            if tag == "li":
                self.words = [_ITEM]
            self.preformatted += tag == "pre"
        elif tag == "br":
            self.words.append("\n")
        elif tag == "img":
            self._say(f" {node.attributes.get('alt') or ''} ")

    def _enter_in_table(self, tag: str) -> None:
        if tag == "tr" and self.tables == 1:
            self.rows.append([])
        if tag in ("td", "th") and self.tables == 1:
            self.words = []
        elif _BLOCKS.fullmatch(tag) or tag == "br":
            self._say(" ")

    def _leave(self, node: LexborNode) -> Iterator[dict]:
        tag = node.tag
        if self.rows is not None:
            yield from self._leave_in_table(tag)
        elif tag in _HEADINGS:
            yield from self._flush("heading", _HEADINGS[tag])
        elif _BLOCKS.fullmatch(tag):
            yield from self._flush()
            self.preformatted -= tag == "pre"

    def _leave_in_table(self, tag: str) -> Iterator[dict]:
        if tag in ("td", "th", "caption") and self.tables == 1:
            if not self.rows or tag == "caption":
                self.rows.append([])
            self.rows[-1].append("".join(self.words))
            self.words = []
        if tag == "table":
            self.tables -= 1
            if not self.tables:
                rows, self.rows, self.words = self.rows, None, []
                yield from _table(rows)

    def _flush(self, kind: str = "text", level: int | None = None) -> Iterator[dict]:
        text, self.words = "".join(self.words), []
        if not self.preformatted:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
        if text.strip(" -\n"):
            if text.startswith(_ITEM):
                self.items.append(text)
            else:
                yield from self._end_list()
                yield block(text, kind, level=level)

    def _end_list(self) -> Iterator[dict]:
        if self.items:
            yield block("\n".join(self.items))
            self.items = []


def _table(rows: list[list[str]]) -> Iterator[dict]:
    """A table as a table; one of a single column or row only arranges the page."""
    rows = [cells for cells in rows if any(cell.strip() for cell in cells)]
    if len(rows) < 2 or max(map(len, rows)) < 2:
        yield from (block(row([cell])) for cells in rows for cell in cells if cell.strip())
    elif len(rows[0]) == 1:  # a caption
        yield block(row(rows[0]))
        yield from _table(rows[1:])
    else:
        yield block("\n".join(map(row, rows)), "table")


def _is_hidden(node: LexborNode) -> bool:
    if _DROPPED.fullmatch(node.tag):
        return True
    attributes = node.attributes
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or attributes.get("role") == "navigation"
        or bool(_HIDDEN_STYLE.search(attributes.get("style") or ""))
    )
