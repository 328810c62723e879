"""Cutting documents: nothing is lost, nothing is too large, and sections stay whole where they can."""

import random

import pytest

from knowledge.chunks import split, tokens
from knowledge.demo import DOCUMENTS
from knowledge.parsing import Parsed, parse
from knowledge.parsing.parsed import assemble

SENTENCE = "Please bring your insurance card, the list of your medicines and ten minutes of time. "


def document(*items: tuple, title: str = "Handbook") -> Parsed:
    """items: ("h1", text), ("p", text), ("table", rows), each with an optional page behind."""
    made = [{"title": title, "pages": None}]
    for style, content, *page in items:
        item = {"text": content, "kind": "text", "page": page[0] if page else None}
        if style.startswith("h"):
            item |= {"kind": "heading", "level": int(style[1])}
        elif style == "table":
            item |= {"kind": "table", "text": "\n".join(" | ".join(row) for row in content)}
        made.append(item)
    return assemble(made)


def uncovered(parsed: Parsed, chunks: list) -> str:
    """What no passage holds, headings apart: they stand in the passages' paths."""
    seen = bytearray(len(parsed.text))
    for chunk in chunks:
        seen[chunk.char_start : chunk.char_end] = b"\1" * (chunk.char_end - chunk.char_start)
    left = [
        parsed.text[n]
        for block in parsed.blocks
        if block.kind != "heading"
        for n in range(block.char_start, block.char_end)
        if not seen[n]
    ]
    return "".join(left).strip()


def test_small_sections_share_a_passage_that_names_them():
    parsed = document(("h1", "Handbook"), ("h2", "Car"), ("p", "Behind the house."), ("h2", "Bus"), ("p", "Line 7."))
    (chunk,) = split(parsed)
    assert chunk.text == "Car\n\nBehind the house.\n\nBus\n\nLine 7."
    assert chunk.embed_text == f"Handbook\n{chunk.text}"
    assert (chunk.n, chunk.page, chunk.heading) == (0, None, "")


def test_a_section_of_its_own_carries_its_path():
    parsed = document(("h1", "Fees"), ("h2", "Tenants"), ("p", SENTENCE * 6), ("h2", "Landlords"), ("p", SENTENCE * 6))
    first, second = split(parsed)
    assert [first.heading, second.heading] == ["Fees > Tenants", "Fees > Landlords"]
    assert first.text == (SENTENCE * 6).strip()
    assert second.embed_text == f"Handbook > Fees > Landlords\n{second.text}"


def test_sections_are_not_packed_where_a_heading_above_would_be_lost():
    parsed = document(("h1", "VPN"), ("h2", "Slow"), ("p", "Use a cable."), ("h1", "Travel"), ("p", "Tell us."))
    assert [chunk.heading for chunk in split(parsed)] == ["VPN > Slow", "Travel"]


def test_a_heading_with_nothing_below_is_not_lost():
    parsed = document(("h1", "Open"), ("p", "Always."), ("h1", "Closed on Sundays"), ("h1", "Contact"), ("p", "Call."))
    assert any("Closed on Sundays" in chunk.text for chunk in split(parsed))


def test_a_long_section_is_cut_at_sentences_with_some_overlap():
    parsed = document(("h1", "Rules"), ("p", "".join(f"Rule {n} says this. {SENTENCE}" for n in range(40))))
    chunks = split(parsed)
    assert len(chunks) > 3
    for before, after in zip(chunks, chunks[1:], strict=False):
        assert before.text.endswith(".") and after.text[0].isupper()
        shared = parsed.text[after.char_start : before.char_end]
        assert 0 < tokens(shared) <= 40


def test_sections_do_not_overlap():
    parsed = document(*[part for n in range(6) for part in (("h1", f"Part {n}"), ("p", SENTENCE * 6))])
    chunks = split(parsed)
    assert all(a.char_end <= b.char_start for a, b in zip(chunks, chunks[1:], strict=False))


def test_a_cut_table_repeats_its_header():
    rows = [["Service", "Price", "Time"], *([f"Treatment {n}", f"£{n}", f"{n} min"] for n in range(100))]
    parsed = document(("h1", "Prices"), ("table", rows))
    chunks = split(parsed)
    assert len(chunks) > 3
    assert all(chunk.text.startswith("Service | Price | Time\nTreatment") for chunk in chunks)
    assert [line for chunk in chunks for line in chunk.text.split("\n")[1:]] == [" | ".join(row) for row in rows[1:]]


def test_a_table_that_goes_on_over_the_page_repeats_the_header_of_the_first():
    first = [["Service", "Price"], *([f"Treatment number {n}", f"£{n}"] for n in range(22))]
    second = [[f"Treatment number {n}", f"£{n}"] for n in range(22, 40)]
    chunks = split(document(("h1", "Prices"), ("table", first, 1), ("table", second, 2)))
    assert all(chunk.text.startswith("Service | Price\n") for chunk in chunks)
    assert [chunk.page for chunk in chunks] == sorted(chunk.page for chunk in chunks)
    assert "Treatment number 39 | £39" in chunks[-1].text


def test_sections_of_different_pages_are_not_packed_so_the_page_is_right():
    parsed = document(("h1", "A"), ("p", "One.", 1), ("h1", "B"), ("p", "Two.", 2))
    assert [(chunk.page, chunk.text) for chunk in split(parsed)] == [(1, "One."), (2, "Two.")]


def test_a_passage_over_two_pages_says_where_most_of_it_stands():
    (chunk,) = split(document(("h1", "A"), ("p", "One.", 1), ("p", SENTENCE * 3, 2)))
    assert chunk.page == 2


def test_a_title_that_is_also_the_first_heading_is_said_once():
    (chunk,) = split(document(("h1", "Handbook"), ("p", "Hello.")))
    assert (chunk.heading, chunk.embed_text) == ("", "Handbook\nHello.")


def test_an_empty_document_has_no_passages():
    assert split(document()) == []


@pytest.mark.parametrize(
    "text",
    [
        "x" * 20_000,
        "漢字かな交じり文" * 700,
        "😀" * 1_500,
        "a.b,c;d-" * 1_000,
        "01632 960 140 " * 800,
        " ".join(["Donaudampfschifffahrtsgesellschaft"] * 500),
        "\n".join(f"line {n}" for n in range(800)),
        "No end in sight " * 1_000,
    ],
    ids=["one word", "no spaces", "emoji", "signs", "numbers", "long words", "lines", "no sentences"],
)
@pytest.mark.parametrize("most", [240, 350, 60])
def test_nothing_is_too_large_and_nothing_is_lost(text, most):
    parsed = document(("h1", "A heading of some length"), ("p", text), ("table", [[text[:3000], "b"], ["c", text]]))
    chunks = split(parsed, max_tokens=most, target_tokens=most - 30, overlap_tokens=20)
    assert max(tokens(chunk.embed_text) for chunk in chunks) <= most
    assert uncovered(parsed, chunks) == ""


def test_any_document_is_covered_within_the_limits_and_always_alike():
    for seed in range(25):
        parsed = document(*_random_parts(random.Random(seed)), title="T" * (seed % 9))
        chunks = split(parsed)
        assert chunks == split(parsed)
        assert [chunk.n for chunk in chunks] == list(range(len(chunks)))
        assert max((tokens(chunk.embed_text) for chunk in chunks), default=0) <= 240
        assert uncovered(parsed, chunks) == ""
        everything = "\n".join(f"{chunk.heading}\n{chunk.text}" for chunk in chunks)
        for block in parsed.blocks:
            assert block.kind != "heading" or block.text in everything or block.text == parsed.title
        for chunk in chunks:
            assert chunk.text.endswith(parsed.text[chunk.char_start : chunk.char_end])


def _random_parts(dice: random.Random) -> list[tuple]:
    parts, page = [], 1
    for n in range(dice.randint(1, 40)):
        page += dice.random() < 0.2
        words = " ".join(f"word{dice.randint(0, 999)}{dice.choice('.,! ')}" for _ in range(dice.randint(1, 90)))
        style = dice.choice(["h1", "h2", "h3", "p", "p", "p", "table"])
        if style == "table":
            columns, rows = dice.randint(1, 5), dice.randint(1, 60)
            parts.append((style, [[f"cell {n} {dice.random():.3f}"] * columns for n in range(rows)], page))
        else:
            parts.append((style, f"{n} {words}"[: 60 if style[0] == "h" else None].strip(), page))
    return parts


@pytest.mark.parametrize("slug", DOCUMENTS)
def test_facts_of_the_demo_tenants_stand_in_one_passage_of_one_document(slug):
    facts = {
        "sunrise": "The fasting time before a blood lipid test is 12 hours.",
        "keystone": "The sales fee is 1.44 percent of the price for sole agency",
        "byteworks": "After six wrong attempts your account is locked for 20 minutes.",
    }
    kinds = {".pdf": "pdf", ".docx": "docx", ".md": "md", ".html": "html"}
    found = {fact: [] for fact in facts.values()}
    for path in DOCUMENTS[slug]:
        for chunk in split(parse(path, kind=kinds[path.suffix])):
            for fact in found:
                found[fact] += [path.name] if fact in chunk.text else []
    assert [fact for fact, places in found.items() if places] == [facts[slug]]
    assert len(found[facts[slug]]) == 1
