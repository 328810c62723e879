"""What kind of file this is: its content decides, its name only tells text formats apart."""

import re
import unicodedata
from pathlib import PurePosixPath

from knowledge.parsing.errors import Unreadable

HEAD_BYTES = 8192  # how much of a file `detect` wants to see

_TEXT_KINDS = {
    "txt": "txt", "text": "txt", "log": "txt", "": "txt", "md": "md", "markdown": "md",
    "htm": "html", "html": "html", "xhtml": "html", "csv": "csv", "tsv": "csv",
}  # fmt: skip

_FOREIGN = [  # (how the file begins, why we refuse it)
    ((b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"), "program"),
    ((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"RIFF", b"BM"), "picture"),
    ((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh"), "archive"),
]

_ZIPPED = [  # (a name inside, why we refuse it)
    (b"xl/", "spreadsheet"), (b"ppt/", "slides"), (b"opendocument.", "open_document"),
]  # fmt: skip

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old Office, and the shell around an encrypted new one
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_UNICODE_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HTML = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)


def safe_name(name: str) -> str:
    """The name of an uploaded file fit to be shown: no path, nothing invisible, 150 characters at most."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(letter for letter in name if unicodedata.category(letter) not in _INVISIBLE)
    path = PurePosixPath(" ".join(name.split()) or "document")
    return path.stem[: 150 - len(path.suffix[:10])] + path.suffix[:10]


def detect(head: bytes, name: str) -> str:
    """The kind of a file: pdf, docx, html, md, txt or csv.

    head    the first HEAD_BYTES of the file, or all of a shorter one
    name    as the uploader's computer gave it; it is not trusted
    Raises  Unreadable  unsupported or empty
    """
    suffix = PurePosixPath(safe_name(name)).suffix.lower().lstrip(".")
    if not head.strip(b"\x00 \t\r\n"):
        raise Unreadable("empty")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF-"):
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(head, suffix)
    if head.startswith(_OLE):
        if suffix == "docx":  # most likely encrypted: the reader looks inside
            return "docx"
        raise Unreadable("unsupported", "old_word" if suffix in ("doc", "dot") else "")
    if _is_text(head):
        return _text_kind(head, suffix)
    for starts, reason in _FOREIGN:
        if head.startswith(starts):
            raise Unreadable("unsupported", reason)
    if b"%PDF-" in head[:1024]:  # readers allow some bytes before it
        return "pdf"
    if suffix in ("pdf", "docx"):
        raise Unreadable("unsupported", "wrong_name")
    raise Unreadable("unsupported")


def _zipped(head: bytes, suffix: str) -> str:
    if b"word/document.xml" in head:
        return "docx"
    for inside, reason in _ZIPPED:
        if inside in head:
            raise Unreadable("unsupported", reason)
    if suffix == "docx" or b"word/" in head:  # big pictures may come first: the reader looks at the directory
        return "docx"
    raise Unreadable("unsupported", "archive")


def _is_text(head: bytes) -> bool:
    if head.startswith(_UNICODE_MARKS):
        return True
    return not _CONTROLS.search(head)


def _text_kind(head: bytes, suffix: str) -> str:
    if suffix in ("md", "markdown"):  # may well begin with a tag
        return "md"
    if _HTML.match(head.lstrip(b"\xef\xbb\xbf")):
        return "html"
    if suffix in _TEXT_KINDS:
        if suffix not in ("html", "htm", "csv", "tsv"):
            _refuse_foreign_text(head)
        return _TEXT_KINDS[suffix]
    _refuse_foreign_text(head)
    raise Unreadable("unsupported", "wrong_name" if suffix in ("pdf", "docx") else "")


def _refuse_foreign_text(head: bytes) -> None:
    """Formats written in plain characters that are no text to read."""
    if head.startswith(b"{\\rtf"):
        raise Unreadable("unsupported", "rich_text")
    if head.startswith(b"#!"):
        raise Unreadable("unsupported", "program")
