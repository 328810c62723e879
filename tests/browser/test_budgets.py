"""What a page may weigh, so that it opens on a slow phone. All of it comes from its own origin (see conftest)."""

import gzip

import pytest
from playwright.sync_api import Page, Response

CHAT_BYTES, PORTAL_BYTES = 20 * 1024, 45 * 1024  # gzip, all in


def weigh(page: Page) -> dict[str, int]:
    """Load the page again; the packed size of each answer, by its path."""
    answers: list[Response] = []
    page.on("response", answers.append)
    page.reload()
    page.wait_for_load_state("networkidle")
    fonts = [answer.url for answer in answers if answer.request.resource_type == "font"]
    assert not fonts
    real = (answer for answer in answers if not answer.url.startswith("data:") and answer.status == 200)
    return {answer.url.partition(".localhost")[2]: len(gzip.compress(answer.body(), mtime=0)) for answer in real}


def test_the_chat_page_weighs_at_most_20_kilobytes(visit):
    weights = weigh(visit("sunrise", "/chat/"))

    assert sum(weights.values()) <= CHAT_BYTES, weights


@pytest.mark.parametrize("path", ["/", "/knowledge/", "/agents/", "/branding/", "/usage/"])
def test_a_portal_page_weighs_at_most_45_kilobytes(visit, sunrise, make_staff, state_of, path):
    weights = weigh(visit("sunrise", path, state=state_of("sunrise", make_staff(sunrise).email)))

    assert sum(weights.values()) <= PORTAL_BYTES, weights
