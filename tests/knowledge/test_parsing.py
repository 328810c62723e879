"""Reading documents: their order and places are kept, and a bad file harms only itself."""

import pickle

import pytest

from knowledge import parsing
from knowledge.demo import DOCUMENTS
from knowledge.parsing import Unreadable, detect, errors, sandbox
from tests.knowledge import files

PAGES = [
    [
        ("h1", "Patient handbook"),
        ("p", files.LOREM * 3),
        ("h2", "Prices"),
        ("row", "Service|Price|Time"),
        ("row", "Cleaning|£60|30 min"),
        ("row", "Whitening|£240|60 min"),
        ("p", files.LOREM),
    ],
    [("h2", "Parking"), ("p", "There are 18 spaces behind the building. " * 3)],
    [("h2", "Contact"), ("p", "Call 01632 960 140 and ask for the nurse.")],
]


@pytest.fixture
def parse(tmp_path):
    def parse(data: bytes, kind: str, **options) -> parsing.Parsed:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return parsing.parse(path, kind=kind, **options)

    return parse


@pytest.fixture
def refusal(parse):
    def refusal(data: bytes, kind: str, **options) -> str:
        with pytest.raises(Unreadable) as caught:
            parse(data, kind, **options)
        return caught.value.code

    return refusal


def outline(parsed: parsing.Parsed) -> list[tuple]:
    return [(block.kind, block.page, block.heading, block.text) for block in parsed.blocks]


class TestPdf:
    def test_pages_headings_and_tables_keep_their_order(self, parse):
        parsed = parse(files.pdf(*PAGES, title="Handbook 2026", footer="Sunrise Clinic"), "pdf")
        assert (parsed.title, parsed.pages) == ("Handbook 2026", 3)
        assert outline(parsed) == [
            ("heading", 1, ("Patient handbook",), "Patient handbook"),
            ("text", 1, ("Patient handbook",), (files.LOREM * 3).strip()),
            ("heading", 1, ("Patient handbook", "Prices"), "Prices"),
            (
                "table",
                1,
                ("Patient handbook", "Prices"),
                "Service | Price | Time\nCleaning | £60 | 30 min\nWhitening | £240 | 60 min",
            ),
            ("text", 1, ("Patient handbook", "Prices"), files.LOREM.strip()),
            ("heading", 2, ("Patient handbook", "Parking"), "Parking"),
            ("text", 2, ("Patient handbook", "Parking"), PAGES[1][1][1].strip()),
            ("heading", 3, ("Patient handbook", "Contact"), "Contact"),
            ("text", 3, ("Patient handbook", "Contact"), PAGES[2][1][1]),
        ]

    def test_places_count_in_the_text_of_the_whole(self, parse):
        parsed = parse(files.pdf(*PAGES), "pdf")
        for block in parsed.blocks:
            assert parsed.text[block.char_start : block.char_end] == block.text

    def test_without_a_title_the_first_heading_is_it(self, parse):
        assert parse(files.pdf(*PAGES), "pdf").title == "Patient handbook"

    def test_two_columns_drawn_row_by_row_are_read_one_after_the_other(self, parse):
        left = [f"Left line {n} says that the surgery is open" for n in range(12)]
        right = [f"Right line {n} tells where to leave a car" for n in range(12)]
        parsed = parse(files.two_column_pdf(left, right, "A heading that crosses both of the columns"), "pdf")
        heading, *texts = parsed.blocks
        assert heading.text == "A heading that crosses both of the columns"
        assert " ".join(" ".join(block.text.split()) for block in texts) == " ".join(left + right)

    def test_rows_of_a_table_stay_rows_though_they_look_like_columns(self, parse):
        rows = [("row", f"Service {n}|£{n}0") for n in range(20)]
        (table,) = parse(files.pdf(rows), "pdf").blocks
        assert table.text.split("\n") == [f"Service {n} | £{n}0" for n in range(20)]

    def test_alike_rows_at_the_edges_of_pages_are_not_taken_for_running_lines(self, parse):
        pages = [[("row", f"Item {page * 3 + n}|£{page * 7 + n}") for n in range(3)] for page in range(4)]
        text = parse(files.pdf(*pages, footer="Price list"), "pdf").text
        assert all(f"Item {n} " in text for n in range(12))
        assert "Price list" not in text

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            pytest.param(files.pdf(PAGES[1], password="secret"), "locked", id="encrypted"),
            pytest.param(files.scanned_pdf(), "scanned", id="a picture of a page"),
            pytest.param(files.blank_pdf(), "empty", id="a blank page"),
            pytest.param(files.pdf(PAGES[0])[:400], "damaged", id="cut off"),
            pytest.param(b"%PDF-1.7\nnothing more", "damaged", id="only a beginning"),
            pytest.param(files.bomb_pdf(2_000_000_000), "too_large", id="2 GB once unpacked"),
        ],
    )
    def test_bad_files_are_refused_for_what_is_wrong(self, refusal, data, code):
        assert refusal(data, "pdf") == code


class TestWord:
    def test_headings_lists_and_tables_keep_their_order(self, parse):
        parsed = parse(
            files.word(
                ("Title", "Blood test"),
                ("Heading 1", "Before"),
                ("Normal", "Do not eat."),
                ("List Bullet", "water is fine"),
                ("List Bullet", "coffee is not"),
                ("table", [["Test", "Fasting"], ["Lipids", "12 hours"]]),
                ("Heading 2", "Children"),
                ("Normal", "Ask first."),
                ("Heading 1", "After"),
                ("Normal", "Rest."),
            ),
            "docx",
        )
        assert parsed.title == "Blood test"
        assert outline(parsed) == [
            ("heading", None, ("Blood test",), "Blood test"),
            ("heading", None, ("Blood test", "Before"), "Before"),
            ("text", None, ("Blood test", "Before"), "Do not eat."),
            ("text", None, ("Blood test", "Before"), "- water is fine\n- coffee is not"),
            ("table", None, ("Blood test", "Before"), "Test | Fasting\nLipids | 12 hours"),
            ("heading", None, ("Blood test", "Before", "Children"), "Children"),
            ("text", None, ("Blood test", "Before", "Children"), "Ask first."),
            ("heading", None, ("Blood test", "After"), "After"),
            ("text", None, ("Blood test", "After"), "Rest."),
        ]

    def test_what_word_prints_is_read_and_what_it_hides_is_not(self, parse):
        parsed = parse(
            files.word_with(
                "<w:p><w:ins><w:r><w:t>Added.</w:t></w:r></w:ins><w:del><w:r><w:delText>Gone.</w:delText></w:r></w:del>"
                "<w:r><w:rPr><w:vanish/></w:rPr><w:t>Hidden.</w:t></w:r></w:p>"
                "<w:sdt><w:sdtContent><w:p><w:r><w:t>In a form.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
            ),
            "docx",
        )
        assert [block.text for block in parsed.blocks] == ["Added.", "In a form.", "Seen."]

    def test_cells_merged_downwards_say_their_text_in_each_row(self, parse):
        def cell(text: str, merge: str = "") -> str:
            return f"<w:tc><w:tcPr>{merge}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"

        first = cell("Monday", '<w:vMerge w:val="restart"/>') + cell("8:00")
        second = cell("", "<w:vMerge/>") + cell("18:00")
        rows = f"<w:tbl><w:tr>{first}</w:tr><w:tr>{second}</w:tr></w:tbl>"
        assert parse(files.word_with(rows), "docx").blocks[0].text == "Monday | 8:00\nMonday | 18:00"

    def test_a_file_of_this_machine_cannot_be_pulled_in(self, parse, tmp_path):
        (tmp_path / "secret").write_text("canary")
        assert parse(files.stealing_word(str(tmp_path / "secret")), "docx").text == "Seen."

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            pytest.param(files.word(("Normal", "Hello."))[:5000], "damaged", id="cut off"),
            pytest.param(files.word_bomb(250_000_000), "too_large", id="zip bomb"),
            pytest.param(files.word_bomb(700_000_000, claimed=1000), "too_large", id="zip bomb that lies"),
            pytest.param(files.archive({f"word/{n}": b"" for n in range(5001)}), "too_large", id="5,001 entries"),
            pytest.param(files.entity_bomb_word(), "damaged", id="entity bomb"),
            pytest.param(files.encrypted_word(), "locked", id="encrypted"),
            pytest.param(files.word(), "empty", id="no text"),
            pytest.param(
                files.archive({"word/document.xml": b"", "word/vbaProject.bin": b""}), "unsupported", id="macros"
            ),
            pytest.param(files.archive({"readme.txt": b"hello"}), "unsupported", id="another archive"),
        ],
    )
    def test_bad_files_are_refused_for_what_is_wrong(self, refusal, data, code):
        assert refusal(data, "docx") == code


class TestHtml:
    def test_what_a_visitor_sees_is_read_in_order(self, parse):
        page = """<!doctype html><title>Viewing &amp; fees</title><style>p { color: red }</style>
            <nav><a href="/">Home</a></nav><h1>Viewing <b>policy</b></h1><p>One<br>two</p>
            <p hidden>secret</p><div style="display: none">secret</div><span aria-hidden="true">secret</span>
            <ul><li>first</li><li><p>second</p></li></ul>
            <table><tr><th>Kind<th>Length<tr><td>Open <i>house</i><td>2 hours</table>
            <script>secret()</script><h2>Safety</h2><footer>Last changed in May</footer>"""
        parsed = parse(page.encode(), "html")
        assert parsed.title == "Viewing & fees"
        assert outline(parsed) == [
            ("heading", None, ("Viewing policy",), "Viewing policy"),
            ("text", None, ("Viewing policy",), "One\ntwo"),
            ("text", None, ("Viewing policy",), "- first\n- second"),
            ("table", None, ("Viewing policy",), "Kind | Length\nOpen house | 2 hours"),
            ("heading", None, ("Viewing policy", "Safety"), "Safety"),
            ("text", None, ("Viewing policy", "Safety"), "Last changed in May"),
        ]

    def test_the_declared_encoding_counts(self, parse):
        page = '<meta charset="iso-8859-5"><p>Привет</p>'
        assert parse(page.encode("iso-8859-5"), "html").text == "Привет"

    def test_a_page_nested_too_deep_is_given_up(self, refusal):
        limits = sandbox.Limits(cpu_seconds=1)
        assert refusal(b"<div>" * 60_000 + b"deep", "html", limits=limits) == "too_slow"


class TestMarkdown:
    def test_headings_lists_tables_and_code_keep_their_order(self, parse):
        text = (
            "---\ntitle: Fees 2026\n---\n# Fees\n\nSee [our page](https://x.example) and\nask.\n\n"
            "1. one\n2. two\n   - sub\n\n"
            "| What | Fee |\n|---|---|\n| Key | £18 |\n\n## Code\n\n```\na  b\n```\n\n<p hidden>secret</p>\n"
        )
        parsed = parse(text.encode(), "md")
        assert parsed.title == "Fees 2026"
        assert outline(parsed) == [
            ("heading", None, ("Fees",), "Fees"),
            ("text", None, ("Fees",), "See our page (https://x.example) and ask."),
            ("text", None, ("Fees",), "1. one\n2. two\n  - sub"),
            ("table", None, ("Fees",), "What | Fee\nKey | £18"),
            ("heading", None, ("Fees", "Code"), "Code"),
            ("text", None, ("Fees", "Code"), "a  b"),
        ]


class TestText:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_any_usual_encoding_is_read(self, parse, encoding):
        parsed = parse("Öffnungszeiten\n\nMontag bis Freitag, £5\n".encode(encoding), "txt")
        assert parsed.title == "Öffnungszeiten"
        assert [block.text for block in parsed.blocks] == ["Öffnungszeiten", "Montag bis Freitag, £5"]

    def test_what_cannot_be_seen_is_taken_out(self, parse):
        assert parse("a\u200b\u202eb\x00c \U000e0041d".encode(), "txt").text == "abc d"

    def test_values_become_one_table(self, parse):
        (table,) = parse(b'name;price\n"a;b";2\n\nc;3\n', "csv").blocks
        assert (table.kind, table.text) == ("table", "name | price\na;b | 2\nc | 3")

    def test_a_file_of_blanks_is_empty(self, refusal):
        assert refusal(b" \n\t \n", "txt") == "empty"

    def test_more_text_than_we_take_is_too_large(self, refusal):
        assert refusal(b"word " * 5_000_000, "txt") == "too_large"


class TestDetection:
    @pytest.mark.parametrize(
        ("head", "name", "kind"),
        [
            (b"%PDF-1.7\n%\xe2\xe3", "report.pdf", "pdf"),
            (b"%PDF-1.7\n%\xe2\xe3", "report.txt", "pdf"),  # content counts, not the name
            (b"\x00\x01junk\r\n%PDF-1.4", "report.pdf", "pdf"),
            (files.word(("Normal", "x"))[:8192], "letter.pdf", "docx"),
            (files.encrypted_word()[:8192], "letter.docx", "docx"),  # its reader says that it is locked
            (b"<!DOCTYPE html><html>", "page.txt", "html"),
            (b"\xef\xbb\xbf  <html lang=en>", "page", "html"),
            (b"<p>a part</p>", "page.htm", "html"),
            (b"# Title\n", "README.md", "md"),
            (b"a,b\n1,2\n", "list.csv", "csv"),
            (b"plain words", "notes.pdf.txt", "txt"),
            (b"plain words", "NOTES.TXT", "txt"),
            ("zwölf".encode("utf-16"), "notes.txt", "txt"),
            (b"plain words", "C:\\Users\\me\\notes.txt", "txt"),
        ],
    )
    def test_the_content_says_what_a_file_is(self, head, name, kind):
        assert detect(head, name) == kind

    @pytest.mark.parametrize(
        ("head", "name", "code", "advice"),
        [
            (b"", "a.pdf", "empty", "no text"),
            (b"MZ\x90\x00\x03", "invoice.pdf", "unsupported", "program"),
            (b"MZ\x90\x00\x03", "invoice\u202efdp.exe", "unsupported", "program"),
            (b"\x7fELF\x02\x01", "a.txt", "unsupported", "program"),
            (b"#!/bin/sh\nrm -rf /", "a.txt", "unsupported", "program"),
            (b"plain words", "a.txt\x00.exe", "unsupported", "cannot be read"),
            (b"plain words", "a.txt\u202etxt.exe", "unsupported", "cannot be read"),
            (b"plain words", "a.pdf", "unsupported", "promises"),
            (b"{\\rtf1 words}", "a.docx", "unsupported", "rich text"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "a.doc", "unsupported", "old Word"),
            (b"\x89PNG\r\n\x1a\n\0\0", "a.pdf", "unsupported", "picture"),
            (files.archive({"xl/workbook.xml": b"x"}), "a.xlsx", "unsupported", "spreadsheet"),
            (files.archive({"ppt/slides.xml": b"x"}), "a.docx", "unsupported", "presentation"),
            (files.archive({"a.txt": b"x"}), "a.zip", "unsupported", "archive"),
        ],
    )
    def test_other_files_are_refused_with_advice(self, head, name, code, advice):
        with pytest.raises(Unreadable) as caught:
            detect(head, name)
        assert caught.value.code == code
        assert advice in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\plan.pdf", "plan.pdf"),
            ("in\u202evoice\x00\n.pdf", "invoice.pdf"),
            ("\u200b", "document"),
            ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
        ],
    )
    def test_names_are_made_fit_to_be_shown(self, name, shown):
        assert parsing.safe_name(name) == shown


def test_every_code_says_what_to_do_and_survives_pickling():
    for code in errors.TEXTS:
        error = Unreadable(code)
        assert error.as_dict() == {"code": code, "text": errors.TEXTS[code]}
        assert pickle.loads(pickle.dumps(error)).as_dict() == error.as_dict()


@pytest.mark.parametrize("path", [path for paths in DOCUMENTS.values() for path in paths], ids=lambda path: path.name)
def test_the_demo_documents_are_read_in_full(path):
    kind = detect(path.read_bytes()[: parsing.HEAD_BYTES], path.name)
    parsed = parsing.parse(path, kind=kind)
    assert parsed.title and path.stat().st_size < 60_000
    assert sum(block.kind == "heading" for block in parsed.blocks) >= 5
    assert any(block.kind == "table" for block in parsed.blocks)
    assert (parsed.pages or 0) >= (3 if kind == "pdf" else 0)
