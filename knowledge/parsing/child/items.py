"""What a reader yields, and how it gives up."""


class Failure(Exception):
    """The file cannot be read. code as in `errors.TEXTS`, reason as in `errors.REASONS`."""

    def __init__(self, code: str, reason: str = ""):
        super().__init__(code)
        self.code, self.reason = code, reason


def head(title: str, pages: int | None = None) -> dict:
    """What is true of the whole document."""
    return {"title": title, "pages": pages}


def block(text: str, kind: str = "text", *, page: int | None = None, level: int | None = None) -> dict:
    """A piece of the document. level, of headings: 1 is the outermost."""
    return {"text": text, "kind": kind, "page": page, "level": level}


def row(cells: list[str]) -> str:
    """One line of a table's text."""
    return " | ".join(" ".join(cell.split()) for cell in cells)
