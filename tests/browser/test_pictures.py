"""The README's pictures, made anew by `ATRIUM_PICTURES=1 bin/test tests/browser/test_pictures.py`."""

import io
import os

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.pages import ChatPage
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "pictures"
SIZE = 1280, 800
MOST_BYTES = 150_000

pytestmark = pytest.mark.skipif("ATRIUM_PICTURES" not in os.environ, reason="made on demand: ATRIUM_PICTURES=1")


@pytest.mark.parametrize(
    "tenant, question", [("sunrise", "When is the baby clinic?"), ("keystone", "How much is the deposit?")]
)
def test_a_picture_of_the_chat_in_each_brand(visit, tenant, question):
    chat = ChatPage(visit(tenant, "/chat/", size=SIZE))
    answer = chat.ask(question)
    expect(answer.get_by_role("list", name="Sources")).to_be_visible()
    chat.box.blur()
    keep(chat.page, f"chat-{tenant}")


def test_a_picture_of_the_portal(visit, owner_state):
    page = visit("sunrise", "/knowledge/", size=SIZE, state=owner_state)
    page.get_by_role("textbox", name="Question").fill("How do I prepare for a blood test?")
    page.get_by_role("button", name="Find passages").click()
    expect(page.locator("#tried .passage").first).to_be_visible()
    page.get_by_role("textbox", name="Question").blur()
    keep(page, "portal")


def test_a_picture_of_the_admin(visit, operator_state):
    for tenant, question in (("byteworks", "How do I set up the VPN?"), ("keystone", "What does a lost key cost?")):
        ChatPage(visit(tenant, "/chat/")).ask(question)
    page = visit("platform", "/admin/", size=SIZE, state=operator_state)
    page.wait_for_timeout(3_000)  # until the last answer is in the ledger
    page.reload()
    expect(page.get_by_role("cell", name="offline/demo").first).to_be_visible()
    keep(page, "admin")


def keep(page: Page, name: str) -> None:
    """Write the page as a PNG of at most 256 colours."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    path = FOLDER / f"{name}.png"
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES
