"""What a page may weigh, so that it opens on a slow phone. All of it comes from its own origin (see conftest)."""

import gzip

import pytest
from playwright.sync_api import Page, Request

CHAT_BYTES, PORTAL_BYTES = 25 * 1024, 45 * 1024  # gzip, all in
READ = "async (address) => (await fetch(address)).text()"


def weigh(page: Page) -> dict[str, int]:
    """Load the page again; the packed size of all it asks for, by address."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.reload()
    page.wait_for_load_state("networkidle")
    assert not [request.url for request in asked if request.resource_type == "font"]
    addresses = {request.url for request in asked if request.url.startswith("http")}
    return {address: len(gzip.compress(page.evaluate(READ, address).encode())) for address in addresses}


def test_the_chat_page_weighs_at_most_25_kilobytes(visit):
    weights = weigh(visit("sunrise", "/chat/"))

    assert sum(weights.values()) <= CHAT_BYTES, weights


@pytest.mark.parametrize("path", ["/", "/knowledge/", "/agents/", "/branding/", "/usage/"])
def test_a_portal_page_weighs_at_most_45_kilobytes(visit, owner_state, path):
    weights = weigh(visit("sunrise", path, state=owner_state))

    assert sum(weights.values()) <= PORTAL_BYTES, weights
