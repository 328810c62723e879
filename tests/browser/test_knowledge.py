"""Staff add documents in the portal, and the chat answers from them."""

import re
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import ChatPage, sign_in
from tests.knowledge import files
from tests.metering.planned import put_on_plan

# Keeps each state that the first row has shown.
WATCH_STATES = """() => {
  window.states = [];
  const look = () => {
    const state = document.querySelector("#documents .document .state")?.textContent.trim();
    if (state && state !== window.states.at(-1)) window.states.push(state);
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


@pytest.fixture
def acme(make_tenant):
    return make_tenant("acme")


@pytest.fixture
def knowledge(visit, acme, make_staff) -> Page:
    """acme's knowledge page, opened by a builder who had to sign in first."""
    page = visit(acme.slug, "/knowledge/")
    sign_in(page, make_staff(acme, role="builder").email)
    expect(page.get_by_role("heading", level=1, name="Knowledge")).to_be_visible()
    return page


def test_an_uploaded_pdf_becomes_ready_before_ones_eyes_and_is_cited_with_its_page(visit, knowledge, acme):
    code = uuid4().hex[:8]
    handbook = files.pdf(
        [("h1", "House rules"), ("p", files.LOREM)],
        [("h2", "Linen room"), ("p", f"The lock of the linen room opens with the code {code}.")],
        title="House rules",
    )
    knowledge.evaluate(WATCH_STATES)

    knowledge.set_input_files("#files", {"name": "rules.pdf", "mimeType": "application/pdf", "buffer": handbook})

    row = knowledge.get_by_role("listitem").filter(has_text="rules.pdf")
    expect(row.get_by_text("Ready", exact=True)).to_be_visible(timeout=60_000)
    states = knowledge.evaluate("window.states")  # which a reload would have lost
    assert states[-1] == "Ready" and len(states) > 1, states

    chat = ChatPage(visit(acme.slug, "/chat/"))
    answer = chat.ask("What is the code of the linen room?")
    expect(answer).to_contain_text(code)
    answer.get_by_role("button", name="House rules, page 2").click()
    expect(chat.sources.locator("blockquote")).to_contain_text(code)


def test_each_file_that_cannot_be_read_says_what_is_wrong_and_what_to_do(knowledge):
    secret = files.pdf([("p", "The vault opens at noon.")], password="secret")
    whole = files.pdf([("p", "The vault opens at noon.")])
    uploads = {
        "setup.exe": (b"MZ" + bytes(400), "This is a program, not a document. Upload a PDF, Word"),
        "nothing.txt": (b"", "There is no text in this file. Check that it is the right one"),
        "locked.pdf": (secret, "This file is protected with a password. Remove the password"),
        "broken.pdf": (whole[: len(whole) // 3], "This file is damaged and cannot be read. Open it on your computer"),
    }

    knowledge.set_input_files(
        "#files",
        [
            {"name": name, "mimeType": "application/octet-stream", "buffer": content}
            for name, (content, _) in uploads.items()
        ],
    )

    for name, (_, advice) in uploads.items():
        row = knowledge.get_by_role("listitem").filter(has_text=name)
        expect(row).to_contain_text(advice, timeout=60_000)
        expect(row.get_by_text("Failed", exact=True)).to_be_visible()
    knowledge.get_by_role("textbox", name="Question").fill("When does the vault open?")
    knowledge.get_by_role("button", name="Find passages").click()
    expect(knowledge.locator("#tried")).to_contain_text("No passage")


def test_a_file_that_finds_no_room_says_so_in_its_row_and_the_meter_shows_the_rest(visit, acme, make_staff):
    put_on_plan(acme, storage_bytes=2_000)
    knowledge = visit(acme.slug, "/knowledge/")
    sign_in(knowledge, make_staff(acme, role="builder").email)
    meter = knowledge.get_by_role("meter")
    expect(meter).to_have_accessible_name(re.compile("0.bytes of 2\\.0.KB used"))

    visit.expect_fault("409")
    uploads = [("small.txt", 1_800), ("large.txt", 1_900)]
    for name, size in uploads:
        file = {"name": name, "mimeType": "text/plain", "buffer": b"word " * (size // 5)}
        knowledge.set_input_files("#files", [file])
        expect(knowledge.get_by_role("listitem").filter(has_text=name)).to_contain_text(
            "Waiting" if name == "small.txt" else "There is no room for this file", timeout=60_000
        )
    expect(meter).to_have_accessible_name(re.compile("1\\.8.KB of 2\\.0.KB used"))
    expect(knowledge.get_by_role("listitem").filter(has_text="large.txt").get_by_role("button")).to_have_count(2)
