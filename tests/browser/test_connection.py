"""Processes die under an open chat: the page says so, comes back by itself, and nothing is lost or said twice."""

import re
import time

import pytest
from playwright.sync_api import expect

from agents.conversations import recording
from agents.conversations.models import Turn
from tenants import directory
from tenants.context import acting_for
from tests.browser.pages import ChatPage

QUESTION = "When is the baby clinic?"
FACT = "Wednesdays from 13:30 to 15:30"
LOST = "Connection lost, trying again. Your messages are kept."
BACK_MS = 60_000  # the next try may be half a minute away, and a lease has to lapse


@pytest.fixture(autouse=True)
def _expected(visit):
    visit.expect_fault("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket connection")


def test_when_the_process_dies_pages_say_so_come_back_and_each_question_is_answered_once(visit, site):
    idle, streaming = ChatPage(visit("sunrise", "/chat/")), ChatPage(visit("sunrise", "/chat/"))
    writing = ChatPage(visit("sunrise", "/chat/"))
    for chat in (writing, streaming):
        chat.say(QUESTION)
        expect(chat.page.locator(".msg[aria-busy=true] [data-body]")).to_have_text(re.compile(".{20}"))
    a_tool_has_changed_data(writing)

    site.kill()
    try:
        gone = time.monotonic()
        expect(streaming.lost).to_contain_text(LOST)
        assert 1 < time.monotonic() - gone < 10
        expect(streaming.answers).to_have_count(0)
        expect(idle.lost).to_contain_text(LOST)
        idle.say(QUESTION)
        expect(idle.questions.get_by_text("Waiting for the connection")).to_be_visible()
    finally:
        site.start()
        site.wait()

    streaming.lost.get_by_role("button", name="Try now").click()
    for chat in (streaming, idle):
        expect(chat.answers).to_have_count(1, timeout=BACK_MS)
        expect(chat.lost).to_be_hidden()
        expect(chat.questions.get_by_text("Delivered")).to_be_visible()
        expect(chat.page.locator(".msg[aria-busy=true]")).to_have_count(0)
        shown = chat.answers.locator("[data-body]").inner_text()
        assert shown.count(FACT) == 1
        chat.page.reload()
        expect(chat.questions).to_have_count(1)
        expect(chat.answers).to_have_count(1)
        expect(chat.answers.locator("[data-body]")).to_have_text(shown, use_inner_text=True)
    what_may_not_run_again_is_marked_and_can_be_asked_for_again(writing)


def a_tool_has_changed_data(chat: ChatPage) -> None:
    """As its turn would note it: from now on that may not run again."""
    conversation = chat.page.evaluate("document.querySelector('[data-chat]').conversation.id")
    with acting_for(next(tenant for tenant in directory.all_active() if tenant.slug == "sunrise")):
        recording.mark_written(Turn.objects.get(conversation_id=conversation).pk)


def what_may_not_run_again_is_marked_and_can_be_asked_for_again(chat: ChatPage) -> None:
    mark = "This answer was interrupted and is not complete."
    expect(chat.answers.get_by_text(mark)).to_be_visible(timeout=BACK_MS)
    chat.page.reload()
    expect(chat.answers.get_by_text(mark)).to_be_visible()
    chat.answers.get_by_role("button", name="Try again").click()
    expect(chat.answers).to_have_count(2)
    expect(chat.answers.last).to_contain_text(FACT)
    expect(chat.answers.last.get_by_text(mark)).to_be_hidden()


def test_without_the_vector_service_the_chat_says_what_it_can_do_and_recovers(visit, site):
    chat = ChatPage(visit("sunrise", "/chat/"))

    site.vectors.cut()
    try:
        answer = chat.ask(QUESTION)
    finally:
        site.vectors.mend()
    expect(answer).to_contain_text("I cannot look into our documents right now")
    expect(answer).to_contain_text("ask for a person")
    expect(answer).not_to_contain_text(FACT)

    expect(chat.ask(QUESTION)).to_contain_text(FACT)
