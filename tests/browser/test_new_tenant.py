"""A tenant made on the command line is there at once; a name that nobody has is nobody's."""

import os
import re
import subprocess
import sys
from urllib.parse import urlsplit
from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.pages import ChatPage
from tests.conftest import ROOT


def test_a_new_tenant_can_be_chatted_with_at_once_and_its_owner_gets_in(visit, site):
    name = f"Harbour Dental {uuid4().hex[:6]}"
    command = ["manage.py", "create_tenant", name, "--vertical", "healthcare", "--plan", "pro"]
    printed = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | site.environment, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    chat_url, invitation = (
        urlsplit(re.search(rf"{word}\s+(http://\S+)", printed)[1]) for word in ("Chat", "Invitation")
    )
    slug = chat_url.hostname.removesuffix(".localhost")
    assert slug == name.lower().replace(" ", "-")
    assert chat_url.port == site.port

    chat = ChatPage(visit(slug, chat_url.path))
    expect(chat.page.locator(".brandbar")).to_have_text(re.compile(name))
    expect(chat.ask("What does a check-up cost?")).to_contain_text("I could not find this in the documents")

    page = visit(slug, invitation.path)
    expect(page.get_by_role("heading", name=f"Welcome to the team of {name}")).to_be_visible()
    page.get_by_label("Your name").fill("Olga Nordin")
    page.get_by_label("Password").fill("seven quiet harbours")
    page.get_by_role("button", name="Join the team").click()
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    expect(page.locator(".side .me")).to_contain_text("Olga Nordin")
    expect(page.locator(".side .me")).to_contain_text("Owner")


def test_a_host_that_is_nobodys_is_not_found_and_wears_no_brand(visit):
    visit.expect_fault("404")

    page = visit("nobody-has-this-name", "/chat/")

    expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    text = page.content()
    assert not any(brand in text for brand in ("Sunrise", "Keystone", "Byteworks", "Atrium", "theme"))
