"""Plain text: paragraphs between blank lines."""

import re
from collections.abc import Iterator

from .encoding import decode
from .items import block, head


def read(data: bytes) -> Iterator[dict]:
    """Each paragraph a block; a short first line that stands alone is the title."""
    paragraphs = [part.strip("\n") for part in re.split(r"\n[ \t]*\n", decode(data).replace("\r\n", "\n"))]
    paragraphs = [part for part in paragraphs if part.strip()]
    if len(paragraphs) > 1 and "\n" not in paragraphs[0] and len(paragraphs[0]) <= 80:
        yield head(paragraphs[0])
    yield from map(block, paragraphs)
