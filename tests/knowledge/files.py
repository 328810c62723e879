"""Makers of sample files, good and bad: each gives the bytes of a real file."""

import io
import zipfile
import zlib

import docx
from fpdf import FPDF
from fpdf.enums import AccessPermission
from PIL import Image

LOREM = (
    "Please arrive ten minutes before your appointment so that we can check your details. "
    "If you are late we may have to see you after the next patient. "
)


def pdf(*pages: list[tuple[str, str]], title: str = "", footer: str = "", password: str = "") -> bytes:
    """A PDF. pages: lists of (style, text); style is h1, h2, p or row, a row's cells parted by "|"."""
    document = FPDF(format="A4")
    document.set_title(title)
    for number, parts in enumerate(pages, 1):
        document.add_page()
        for style, text in parts:
            _write(document, style, text)
        if footer:
            document.set_auto_page_break(False)
            document.set_y(-15)
            document.set_font("Helvetica", size=8)
            document.cell(text=f"{footer} - page {number}")
            document.set_auto_page_break(True, margin=20)
    if password:
        document.set_encryption(owner_password="owner", user_password=password, permissions=AccessPermission.none())
    return bytes(document.output())


def _write(document: FPDF, style: str, text: str) -> None:
    size, emphasis = {"h1": (20, "B"), "h2": (14, "B")}.get(style, (10, ""))
    document.set_font("Helvetica", style=emphasis, size=size)
    if style == "row":
        for cell in text.split("|"):
            document.cell(w=60, h=6, text=cell.strip())
        document.ln(6)
        return
    document.multi_cell(w=0, h=size * 0.5, text=text, new_x="LMARGIN", new_y="NEXT")
    document.ln(3)


def two_column_pdf(left: list[str], right: list[str], heading: str) -> bytes:
    """A page of two columns, drawn row by row, as many programs do."""
    document = FPDF(format="A4")
    document.add_page()
    document.set_font("Helvetica", style="B", size=18)
    document.cell(text=heading, new_x="LMARGIN", new_y="NEXT", h=12)
    document.set_font("Helvetica", size=10)
    for n, (first, second) in enumerate(zip(left, right, strict=True)):
        document.text(10, 40 + n * 5, first)
        document.text(110, 40 + n * 5, second)
    return bytes(document.output())


def scanned_pdf() -> bytes:
    """A PDF of one picture and no text."""
    document = FPDF()
    document.add_page()
    document.image(Image.new("RGB", (200, 300), (240, 240, 230)), x=0, y=0, w=210)
    return bytes(document.output())


def blank_pdf() -> bytes:
    """A PDF of one page with nothing on it."""
    document = FPDF()
    document.add_page()
    return bytes(document.output())


def bomb_pdf(unpacked: int) -> bytes:
    """A PDF whose one page's drawing unpacks to about so many bytes of drawing orders."""
    stream = b"\x78\xda" + _deflated(b"0 0 m 1 1 l S\n" * 70_000, unpacked)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<<>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(stream), stream),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + table + b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(body)


def _deflated(part: bytes, unpacked: int) -> bytes:
    """Packed data that unpacks to about so many bytes, made in no time: one packed part, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)
    return packed * (unpacked // len(part)) + packer.flush()


def word(*parts: tuple[str, object], title: str = "") -> bytes:
    """A Word file. parts: (style, text); style is a paragraph style's name, or "table" with a list of rows."""
    document = docx.Document()
    document.core_properties.title = title
    for style, content in parts:
        if style == "table":
            table = document.add_table(rows=0, cols=len(content[0]))
            for cells in content:
                for cell, text in zip(table.add_row().cells, cells, strict=True):
                    cell.text = text
        else:
            document.add_paragraph(content, style=style)
    return _saved(document)


def word_with(inside: str, before: str = "<w:body>") -> bytes:
    """A Word file with raw markup put into its body."""
    return _changed(word(("Normal", "Seen.")), lambda xml: xml.replace(before, before + inside))


def word_bomb(unpacked: int, claimed: int | None = None) -> bytes:
    """A Word file whose text unpacks to about so many bytes. claimed: what its directory says instead."""
    packed = _deflated(b"a" * 1_000_000, unpacked)
    with zipfile.ZipFile(io.BytesIO(word(("Normal", "Hello.")))) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    data = bytearray(archive(parts | {"word/document.xml": packed}, method=zipfile.ZIP_STORED))
    size = (unpacked if claimed is None else claimed).to_bytes(4, "little")
    entry = zipfile.ZipFile(io.BytesIO(data)).getinfo("word/document.xml")
    directory = data.rindex(b"word/document.xml") - 46
    for method, sizes in ((entry.header_offset + 8, entry.header_offset + 22), (directory + 10, directory + 24)):
        data[method : method + 2] = zipfile.ZIP_DEFLATED.to_bytes(2, "little")
        data[sizes : sizes + 4] = size
    return bytes(data)


def entity_bomb_word() -> bytes:
    """A Word file whose text is an entity of an entity of an entity, a billion times over."""
    names = "abcdefghij"
    entities = '<!ENTITY a "haha">' + "".join(
        f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip(names, names[1:], strict=False)
    )
    return _changed(
        word(("Normal", "Hello.")),
        lambda xml: xml.replace("<w:document", f"<!DOCTYPE d [{entities}]><w:document", 1).replace("Hello.", "&j;"),
    )


def stealing_word(path: str) -> bytes:
    """A Word file that asks its reader to put a file of this machine into the text."""
    return _changed(
        word(("Normal", "Hello.")),
        lambda xml: xml.replace(
            "<w:document", f'<!DOCTYPE d [<!ENTITY x SYSTEM "file://{path}">]><w:document', 1
        ).replace("Hello.", "Seen. &x;"),
    )


def archive(names: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return packed.getvalue()


def encrypted_word() -> bytes:
    """What Word writes for a document with a password: an old container around an encrypted package."""
    name = "EncryptedPackage".encode("utf-16-le")
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1016) + name.ljust(512, b"\0") + bytes(4096)


def _changed(data: bytes, change) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    parts["word/document.xml"] = change(parts["word/document.xml"].decode()).encode()
    return archive(parts)


def _saved(document) -> bytes:
    packed = io.BytesIO()
    document.save(packed)
    return packed.getvalue()
