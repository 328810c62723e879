"""What a reader found in a document: blocks in reading order, each with its place."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

BETWEEN_BLOCKS = "\n\n"
MAX_BLOCKS = 200_000

_KINDS = frozenset({"text", "table", "heading"})
# Controls, lone surrogates, and characters that show nothing: they break databases or hide instructions.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list, table or heading.

    text        of a table: one line a row, cells parted by " | ", the header first
    page        from 1; None where the format has no pages
    heading     the headings above it, outermost first; of a heading, itself last
    kind        text, table or heading
    char_start  its place in `Parsed.text`, in characters; char_end is behind its last
    """

    text: str
    page: int | None
    heading: tuple[str, ...]
    kind: str
    char_start: int
    char_end: int


@dataclass(frozen=True)
class Parsed:
    """A document as text. title may be empty; pages is None where the format has none."""

    title: str
    blocks: list[Block]
    pages: int | None = None

    @property
    def text(self) -> str:
        """All blocks' text; what char_start and char_end count in."""
        return BETWEEN_BLOCKS.join(block.text for block in self.blocks)


def assemble(items: Iterable[dict]) -> Parsed:
    """Build a document from the lines a reader wrote.

    items   {"title", "pages"} at any place, and {"text", "kind", "page", "level"} for each block
    Raises  ValueError  an item has another shape: readers are not trusted
    """
    title, pages, blocks, place = "", None, [], 0
    above: list[tuple[int, str]] = []
    for item in items:
        if "title" in item:
            title, pages = _one_line(item["title"]), _number(item.get("pages"))
            continue
        text, kind = _clean(item["text"]), item.get("kind", "text")
        if kind not in _KINDS or len(blocks) >= MAX_BLOCKS:
            raise ValueError("a reader wrote something else than blocks")
        if not text:
            continue
        if kind == "heading":
            text, level = _one_line(text, limit=2000), _number(item.get("level")) or 1
            above = [(n, words) for n, words in above if n < level] + [(level, text[:200])]
        heading = tuple(words for _, words in above)
        blocks.append(Block(text, _number(item.get("page")), heading, kind, place, place + len(text)))
        place += len(text) + len(BETWEEN_BLOCKS)
    return Parsed(title, blocks, pages)


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n").replace("\xa0", " ")
    lines = (line.rstrip() for line in _UNSHOWN.sub("", text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _one_line(text: str, limit: int = 200) -> str:
    return " ".join(_clean(text).split())[:limit]


def _number(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 10_000_000 else None
