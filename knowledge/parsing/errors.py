"""What can be wrong with a file, said so that the person who uploaded it can act."""

from platform_site.errors import PlatformError

READABLE = "PDF, Word (.docx), web page (.html), Markdown (.md), text (.txt) or CSV"

TEXTS = {
    "locked": "This file is protected with a password. Remove the password, save it and upload it again.",
    "scanned": "This file is a scan: it shows pictures of pages but holds no text. "
    "Run text recognition (OCR) on it, or upload the original document.",
    "damaged": "This file is damaged and cannot be read. "
    "Open it on your computer, save it under a new name and upload that one.",
    "too_large": "This file is too large or too complicated to read. Split it into smaller files.",
    "too_slow": "Reading this file took too long. Split it into smaller files, or save it as a PDF first.",
    "unsupported": f"This kind of file cannot be read. Upload a {READABLE} file instead.",
    "empty": "There is no text in this file. Check that it is the right one and upload it again.",
}

# Special cases of the codes above that deserve better advice; the reader names them by these words.
REASONS = {
    "old_word": "This is an old Word file (.doc). Open it in Word, save it as .docx and upload that.",
    "macros": "This Word file holds macros. Save it as a plain .docx without macros and upload that.",
    "spreadsheet": "This is a spreadsheet. Save it as PDF or CSV and upload that.",
    "slides": "This is a presentation. Save it as PDF and upload that.",
    "open_document": "This is an OpenDocument file. Save it as PDF or .docx and upload that.",
    "rich_text": "This is a rich text file (.rtf). Save it as PDF or .docx and upload that.",
    "picture": "This is a picture. Upload the document itself, or a PDF with text.",
    "archive": "This is an archive. Unpack it and upload the documents in it one by one.",
    "program": f"This is a program, not a document. Upload a {READABLE} file instead.",
    "wrong_name": "The file's name promises something else than the file holds. "
    "Save the document again from the program it was made with, and upload that.",
}


class Unreadable(PlatformError):
    """A file that cannot become passages, for a reason that lies in the file; trying again does not help.

    code  one of locked, scanned, damaged, too_large, too_slow, unsupported, empty
    """

    status = 422

    def __init__(self, code: str, reason: str = ""):
        super().__init__(REASONS.get(reason) or TEXTS[code])
        self.code = code
        self.args = (code, reason)  # so that it survives pickling
        self.message = REASONS.get(reason) or TEXTS[code]

    def __str__(self) -> str:
        return self.message
