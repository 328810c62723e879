"""Bytes to text, whatever wrote them."""

import codecs

from .items import Failure

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 100_000


def decode(data: bytes, declared: str = "") -> str:
    """Text of a file: by its mark, as UTF-8, as declared, by a guess, and at last as Windows wrote it."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _checked(data.decode(name, errors="replace"))
    try:
        return _checked(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _checked(data.decode(_known(declared) or _guess(data), errors="replace"))


def _checked(text: str) -> str:
    if text.count("\x00") > 2 + len(text) / 50:  # it is not text
        raise Failure("damaged")
    return text


def _known(name: str) -> str:
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError:
        return ""


def _guess(data: bytes) -> str:
    try:
        data[:_SAMPLE].decode("cp1252")
        if sum(byte >= 0x80 for byte in data[:_SAMPLE]) < len(data[:_SAMPLE]) / 10:
            return "cp1252"  # a western language: a tenth at most of its letters have accents
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE]).best()
    return best.encoding if best else "cp1252"
