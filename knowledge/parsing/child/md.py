"""Markdown (CommonMark with tables)."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .encoding import decode
from .html import read_fragment
from .items import block, head, row

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.S)
_LINK = ("http://", "https://", "mailto:", "tel:")
_PREFIX = {"bullet_list_open": "- ", "ordered_list_open": "{}. "}


def read(data: bytes) -> Iterator[dict]:
    """Headings, paragraphs, lists, tables and code in their order. The first heading is the title."""
    text = decode(data).replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    tokens = MarkdownIt("commonmark", {"maxNesting": 30}).enable("table").parse(text[front.end() :] if front else text)
    title = re.search(r"^title:\s*[\"']?(.*?)[\"']?\s*$", front.group(1), re.M) if front else None
    yield head(title.group(1) if title else _first_heading(tokens))
    yield from _blocks(tokens)


def _first_heading(tokens: list[Token]) -> str:
    opening = next((i for i, token in enumerate(tokens) if token.type == "heading_open"), None)
    return _plain(tokens[opening + 1]) if opening is not None else ""


def _blocks(tokens: list[Token]) -> Iterator[dict]:
    lists: list[list] = []  # of the lists we are in: [prefix, next number]
    prefix, level, items, rows = "", None, [], None
    for token in tokens:
        if token.type in _PREFIX:
            lists.append([_PREFIX[token.type], int(token.attrGet("start") or 1)])
        elif token.type == "list_item_open":
            prefix = "  " * (len(lists) - 1) + lists[-1][0].format(lists[-1][1])
            lists[-1][1] += 1
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            lists.pop()
            if not lists:
                yield block("\n".join(items))
                items = []
        elif token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            yield block("\n".join(map(row, rows)), "table")
            rows = None
        elif token.type == "html_block":
            yield from read_fragment(token.content)
        elif token.type in ("inline", "fence", "code_block"):
            text = _plain(token) if token.type == "inline" else token.content
            if rows is not None:
                rows[-1].append(text)
            elif lists:
                items.append(prefix + text)
                prefix = "  " * len(lists)
            elif level:
                yield block(text, "heading", level=level)
                level = None
            else:
                yield block(text)


def _plain(token: Token) -> str:
    """The words of a line, links with where they lead."""
    words, target = [], ""
    for child in token.children or []:
        if child.type in ("text", "code_inline"):
            words.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            words.append(" " if child.type == "softbreak" else "\n")
        elif child.type == "image":
            words.append(child.content)
        elif child.type == "link_open":
            target = str(child.attrGet("href") or "")
        elif child.type == "link_close" and target.startswith(_LINK) and target.split(":", 1)[-1] not in "".join(words):
            words.append(f" ({target.removeprefix('mailto:').removeprefix('tel:')})")
    return "".join(words)
