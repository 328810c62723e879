"""From an uploaded file to text with places: `detect` says what it is, `parse` reads it.

A file is untrusted input: its reader runs in a limited process (`sandbox`, `child`) and can harm only itself.
"""

import logging
from pathlib import Path

from knowledge.parsing import sandbox
from knowledge.parsing.detection import HEAD_BYTES, detect, safe_name
from knowledge.parsing.errors import Unreadable
from knowledge.parsing.parsed import Block, Parsed, assemble

__all__ = ["HEAD_BYTES", "KINDS", "Block", "Parsed", "Unreadable", "detect", "parse", "safe_name"]

logger = logging.getLogger(__name__)

KINDS = ("pdf", "docx", "html", "md", "txt", "csv")


def parse(path: Path, *, kind: str, limits: sandbox.Limits = sandbox.LIMITS) -> Parsed:
    """Read a file in a limited process of its own. Blocks until done: up to limits.wall_seconds.

    kind    what `detect` said
    Raises  Unreadable      the file is at fault; its text says what to do
            SandboxBroken   this machine cannot run the limited process; the file may be fine
            OSError         the file is not there
    """
    if kind not in KINDS:
        raise Unreadable("unsupported")
    with path.open("rb") as file:
        items = sandbox.run(file, reader=f"child.{kind}", limits=limits)
    try:
        parsed = assemble(items)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("a reader wrote something odd", extra={"kind": kind, "error": repr(error)[:200]})
        raise Unreadable("damaged") from error
    if not any(block.kind != "heading" for block in parsed.blocks) and len(parsed.text) < 3:
        raise Unreadable("empty")
    return parsed
