"""Makes the demo tenants' PDF and Word files from the texts in `sources/`: `python -m knowledge.demo.make`.

Needs fpdf2 from requirements-dev.txt. Run it after changing a text, and commit what it wrote.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import docx
from docx.shared import Pt, RGBColor
from fpdf import FPDF
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace
from markdown_it import MarkdownIt
from markdown_it.token import Token

HERE = Path(__file__).resolve().parent
MADE_AT = datetime(2026, 1, 5, 9, tzinfo=UTC)  # fixed, so that the same text gives the same file
TARGETS = {
    "sunrise/patient-handbook": ".pdf",
    "sunrise/preparing-for-a-blood-test": ".docx",
    "keystone/tenancy-guide": ".pdf",
    "byteworks/vpn-and-password-guide": ".pdf",
    "byteworks/printer-howto": ".docx",
}


@dataclass
class Part:
    """A heading (h2, h3), paragraph (p), callout, list (ul, ol) or table of a text."""

    kind: str
    text: str = ""
    items: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def main() -> None:
    """Write every file anew."""
    for name, suffix in TARGETS.items():
        facts, parts = read((HERE / "sources" / f"{name}.md").read_text(encoding="utf-8"))
        write = write_pdf if suffix == ".pdf" else write_word
        (HERE / f"{name}{suffix}").write_bytes(write(facts, parts))


def read(text: str) -> tuple[dict[str, str], list[Part]]:
    """The facts between the two lines of dashes, and the parts of the text below."""
    _, front, body = text.split("---\n", 2)
    facts = {key: value.strip().strip('"') for key, value in re.findall(r"^(\w+): (.*)$", front, re.M)}
    return facts, list(_parts(MarkdownIt("commonmark").enable("table").parse(body)))


def _parts(tokens: list[Token]) -> Iterator[Part]:
    part, quoted = Part("p"), False
    for token in tokens:
        if token.type == "heading_open" or token.type in ("bullet_list_open", "ordered_list_open", "table_open"):
            part = Part(token.tag)
        elif token.type in ("blockquote_open", "blockquote_close"):
            quoted = token.type == "blockquote_open"
        elif token.type == "tr_open":
            part.rows.append([])
        elif token.type == "inline" and part.kind == "table":
            part.rows[-1].append(token.content)
        elif token.type == "inline" and part.kind in ("ul", "ol"):
            part.items.append(token.content)
        elif token.type == "inline":
            yield Part("callout" if quoted else part.kind, token.content)
            part = Part("p")
        elif token.type in ("bullet_list_close", "ordered_list_close", "table_close"):
            yield part
            part = Part("p")


class Brochure(FPDF):
    """A4, a coloured cover band on the first page, a running foot with page numbers."""

    def __init__(self, facts: dict[str, str]):
        super().__init__(format="A4")
        self.facts = facts
        self.colour = _colour(facts["colour"])
        self.tint = tuple(255 - (255 - part) // 10 for part in self.colour)
        self.set_creation_date(MADE_AT)
        self.set_title(facts["title"])
        self.set_author(facts["brand"])
        self.set_lang("en-GB")
        self.set_margins(22, 24, 22)
        self.set_auto_page_break(True, margin=26)
        self.add_page()
        self._cover()

    def header(self) -> None:
        """A thin band in the brand's colour on the pages after the first."""
        if self.page_no() > 1:
            self.set_fill_color(*self.colour)
            self.rect(0, 0, self.w, 5, style="F")
            self.set_y(24)

    def footer(self) -> None:
        """Whose document this is, and the page."""
        self.set_y(-17)
        self.set_draw_color(200, 200, 200)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())
        self.set_font("Helvetica", size=8)
        self.set_text_color(110, 110, 110)
        self.cell(w=self.epw / 2, h=8, text=f"{self.facts['brand']}: {self.facts['title']}")
        self.cell(w=self.epw / 2, h=8, text=f"Page {self.page_no()} of {{nb}}", align="R")

    def _cover(self) -> None:
        self.set_fill_color(*self.colour)
        self.rect(0, 0, self.w, 82, style="F")
        self.set_fill_color(*(min(255, part + 38) for part in self.colour))
        self.ellipse(self.w - 46, -34, 84, 84, style="F")
        self.set_text_color(255, 255, 255)
        self.set_xy(self.l_margin, 18)
        self._say(self.facts["brand"].upper(), size=11, style="B", height=6)
        self.set_y(34)
        self._say(self.facts["title"], size=30, style="B", height=13)
        self._say(self.facts["subtitle"], size=12.5, height=7)
        self.set_y(68)
        self._say(self.facts["contact"].replace("  |  ", "   ·   "), size=9.5, height=6)
        self.set_y(92)

    def _say(self, text: str, *, size: float, height: float, style: str = "", **options) -> None:
        self.set_font("Helvetica", style=style, size=size)
        self.multi_cell(w=0, h=height, text=text, align="L", new_x="LMARGIN", new_y="NEXT", **options)

    def add(self, part: Part) -> None:
        """Draw one part of the text."""
        self.set_text_color(35, 35, 35)
        getattr(self, f"_add_{part.kind}")(part)

    def _add_p(self, part: Part) -> None:
        self.set_font("Helvetica", size=10.5)
        lines = self.multi_cell(w=0, h=5.4, text=part.text, align="L", dry_run=True, output="LINES")
        self._keep_together(5.4 * len(lines))
        self._say(part.text, size=10.5, height=5.4)
        self.ln(2.8)

    def _add_h2(self, part: Part) -> None:
        self._keep_together(40)
        self.ln(4)
        self.set_text_color(*self.colour)
        self._say(part.text, size=17, style="B", height=8)
        self.set_draw_color(*self.colour)
        self.set_line_width(0.5)
        self.line(self.l_margin, self.get_y() + 0.8, self.l_margin + 18, self.get_y() + 0.8)
        self.set_line_width(0.2)
        self.ln(4)

    def _add_h3(self, part: Part) -> None:
        self._keep_together(30)
        self.ln(1.5)
        self.set_text_color(*self.colour)
        self._say(part.text, size=12.5, style="B", height=6.5)
        self.ln(1)

    def _add_callout(self, part: Part) -> None:
        self.set_font("Helvetica", size=11)
        lines = self.multi_cell(w=self.epw - 14, h=6, text=part.text, dry_run=True, output="LINES")
        top, height = self.get_y(), 6 * len(lines) + 8
        self.set_fill_color(*self.tint)
        self.rect(self.l_margin, top, self.epw, height, style="F")
        self.set_fill_color(*self.colour)
        self.rect(self.l_margin, top, 1.6, height, style="F")
        self.set_xy(self.l_margin + 7, top + 4)
        self.multi_cell(w=self.epw - 14, h=6, text=part.text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.set_y(top + height + 3)

    def _keep_together(self, height: float) -> None:
        if self.will_page_break(height):
            self.add_page()

    def _add_ul(self, part: Part) -> None:
        self._list(part.items, ["-"] * len(part.items))

    def _add_ol(self, part: Part) -> None:
        self._list(part.items, [f"{n}." for n in range(1, len(part.items) + 1)])

    def _list(self, items: list[str], marks: list[str]) -> None:
        self.set_font("Helvetica", size=10.5)
        for mark, text in zip(marks, items, strict=True):
            self.set_x(self.l_margin + 3)
            self.cell(w=6, h=5.4, text=mark)
            self.multi_cell(w=self.epw - 9, h=5.4, text=text, align="L", new_x="LMARGIN", new_y="NEXT")
            self.ln(0.8)
        self.ln(2.4)

    def _add_table(self, part: Part) -> None:
        self.set_font("Helvetica", size=9.5)
        self.set_draw_color(215, 215, 215)
        self.set_fill_color(255, 255, 255)
        self._keep_together(11 * len(part.rows))
        widths = [min(60, max(14, *(len(row[n]) for row in part.rows))) for n in range(len(part.rows[0]))]
        head = FontFace(emphasis="BOLD", color=(255, 255, 255), fill_color=self.colour)
        with self.table(
            col_widths=widths, line_height=5.4, padding=(1.3, 2), headings_style=head, text_align="L",
            borders_layout=TableBordersLayout.HORIZONTAL_LINES, cell_fill_color=self.tint, cell_fill_mode="EVEN_ROWS",
        ) as table:  # fmt: skip
            for cells in part.rows:
                table.row(cells)
        self.ln(5)


def write_pdf(facts: dict[str, str], parts: list[Part]) -> bytes:
    """A brochure of a text."""
    brochure = Brochure(facts)
    for part in parts:
        brochure.add(part)
    return bytes(brochure.output())


def write_word(facts: dict[str, str], parts: list[Part]) -> bytes:
    """A Word document of a text."""
    document = docx.Document()
    properties = document.core_properties
    properties.title, properties.author, properties.comments = facts["title"], facts["brand"], ""
    properties.created = properties.modified = MADE_AT.replace(tzinfo=None)
    document.styles["Normal"].font.name = "Calibri"
    document.styles["Normal"].font.size = Pt(11)
    for style in ("Title", "Heading 1", "Heading 2"):
        document.styles[style].font.color.rgb = RGBColor(*_colour(facts["colour"]))
    document.add_paragraph(facts["title"], style="Title")
    for part in parts:
        _add_to_word(document, part)
    written = io.BytesIO()
    document.save(written)
    return _undated(written)


def _add_to_word(document, part: Part) -> None:
    styles = {"h2": "Heading 1", "h3": "Heading 2", "p": "Normal", "callout": "Intense Quote"}
    if part.kind in styles:
        document.add_paragraph(part.text, style=styles[part.kind])
    for item in part.items:
        document.add_paragraph(item, style="List Bullet" if part.kind == "ul" else "List Number")
    if part.rows:
        table = document.add_table(rows=0, cols=len(part.rows[0]), style="Light Grid Accent 1")
        for cells in part.rows:
            for cell, text in zip(table.add_row().cells, cells, strict=True):
                cell.text = text
        document.add_paragraph()


def _undated(archive: io.BytesIO) -> bytes:
    """The same archive without the time at which it was packed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name, MADE_AT.timetuple()[:6]), source.read(name), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _colour(hexadecimal: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(hexadecimal.lstrip("#"))
    return red, green, blue


if __name__ == "__main__":
    main()
