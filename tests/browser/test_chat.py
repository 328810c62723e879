"""The hosted chat, as a customer of the demo clinic meets it."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.pages import ChatPage

# Stands only in the clinic's handbook, a PDF.
QUESTION = "When is the baby clinic?"
FACT, SOURCE, PAGE = "Wednesdays from 13:30 to 15:30", "Patient handbook", 3
# Called before a question: keeps how long the growing answer was each time it was drawn.
WATCH_GROWTH = """() => {
  window.lengths = [];
  new MutationObserver(() => {
    const body = document.querySelector(".msg[aria-busy=true] [data-body]");
    if (body) window.lengths.push(body.textContent.length);
  }).observe(document.querySelector("[role=log]"), { childList: true, subtree: true, characterData: true });
}"""


def test_the_page_wears_the_clinics_brand_and_says_that_a_machine_answers(visit):
    page = visit("sunrise", "/chat/")

    expect(page).to_have_title("Chat with Sunrise Clinic")
    expect(page.locator(".brandbar")).to_contain_text("Sunrise Clinic")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada")
    expect(page.get_by_text("Hello, I am Ada.")).to_be_visible()
    expect(page.get_by_text("You are talking to an AI assistant.")).to_be_visible()
    expect(page.get_by_text("Demo model: answers are quoted from documents")).to_be_visible()
    send = page.get_by_role("button", name="Send")
    page.get_by_role("textbox", name="Message").fill("?")
    expect(send).to_have_css("background-color", "rgb(15, 92, 86)")  # #0f5c56


def test_an_answer_streams_in_with_the_page_it_stands_on_and_is_there_after_a_reload(visit):
    chat = ChatPage(visit("sunrise", "/chat/"))
    chat.page.evaluate(WATCH_GROWTH)

    answer = chat.ask(QUESTION)

    expect(answer).to_contain_text(FACT)
    assert len(set(chat.page.evaluate("window.lengths"))) > 3, "the answer came in one piece"
    answer.get_by_role("list", name="Sources").get_by_role("button", name=f"{SOURCE}, page {PAGE}").click()
    expect(chat.sources.get_by_role("heading", name=SOURCE)).to_be_visible()
    expect(chat.sources).to_contain_text(f"page {PAGE}")
    expect(chat.sources.locator("blockquote")).to_contain_text(FACT)

    before = answer.locator("[data-body]").inner_text()
    chat.page.reload()
    expect(chat.questions).to_have_count(1)
    expect(chat.answers).to_have_count(1)
    expect(chat.answers.locator("[data-body]")).to_have_text(before, use_inner_text=True)
    chat.answers.get_by_role("button", name="Source 1").first.click()
    expect(chat.sources.locator("blockquote")).to_contain_text(FACT)


def test_the_estate_agency_asked_the_same_knows_nothing_of_it(visit):
    chat = ChatPage(visit("keystone", "/chat/"))

    answer = chat.ask(QUESTION)

    expect(answer).to_contain_text("I could not find this in the documents")
    expect(answer).not_to_contain_text("13:30")
    expect(answer.get_by_role("list", name="Sources")).to_be_hidden()


def test_a_message_that_is_too_long_stays_in_the_box_and_says_so(visit):
    chat = ChatPage(visit("sunrise", "/chat/", size=PHONE))
    long = "x" * 8_001

    chat.box.fill(long)
    chat.box.press("Enter")

    expect(chat.page.get_by_text("Your message has 8,001 characters, at most 8,000 can be sent.")).to_be_visible()
    assert chat.box.input_value() == long
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], "one long word widens the page"
    expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()
    expect(chat.questions).to_have_count(0)

    chat.page.reload()
    expect(chat.page.get_by_text("Your message has 8,001 characters")).to_be_visible()
    assert chat.box.input_value() == long


def test_who_writes_too_fast_keeps_the_text_and_is_told_when_to_go_on(visit):
    chat = ChatPage(visit("sunrise", "/chat/", size=PHONE))
    notice = chat.page.locator("[data-notice]")
    for number in range(1, 6):
        chat.say(f"Question {number}?")
    chat.say("One too many?")

    expect(notice).to_contain_text("That was a lot at once. You can try again in")
    expect(chat.box).to_have_value("One too many?")
    expect(chat.questions).to_have_count(5)

    expect(notice).to_be_hidden()  # when it is over
    chat.box.press("Enter")
    expect(chat.questions.filter(has_text="One too many?").get_by_text("Delivered")).to_be_visible()


def test_a_thumb_that_is_not_taken_springs_back_and_says_why(visit):
    chat = ChatPage(visit("sunrise", "/chat/", size=PHONE))
    answer = chat.ask(QUESTION)
    up, down = answer.locator("[data-value='1']"), answer.locator("[data-value='-1']")
    for thumb in (up, down, up, down):
        thumb.click()
    expect(down).to_have_attribute("aria-pressed", "true")

    up.click()

    expect(chat.page.locator("[data-notice]")).to_contain_text("That was a lot at once. You can try again in")
    expect(down).to_have_attribute("aria-pressed", "true")
    expect(up).to_have_attribute("aria-pressed", "false")
    chat.page.reload()
    expect(down).to_have_attribute("aria-pressed", "true")


def test_a_stopped_answer_keeps_its_text_says_so_and_can_be_asked_for_again(visit):
    chat = ChatPage(visit("sunrise", "/chat/", size=PHONE))
    chat.say(QUESTION)
    expect(chat.page.locator(".msg[aria-busy=true] [data-body]")).to_have_text(re.compile(".{20}"))
    chat.page.get_by_role("button", name="Stop").click()

    expect(chat.answers.get_by_text("This answer was stopped.")).to_be_visible()
    kept = chat.answers.locator("[data-body]").inner_text()
    assert kept
    chat.page.reload()
    expect(chat.answers.locator("[data-body]")).to_have_text(kept, use_inner_text=True)
    expect(chat.answers.get_by_text("This answer was stopped.")).to_be_visible()

    chat.answers.get_by_role("button", name="Try again").click()
    expect(chat.questions).to_have_count(2)
    expect(chat.answers).to_have_count(2)
    expect(chat.answers.last.get_by_text("This answer was stopped.")).to_be_hidden()
    assert len(chat.answers.last.locator("[data-body]").inner_text()) > len(kept)


def test_a_question_sent_during_an_answer_is_shown_as_waiting_for_it(visit):
    chat = ChatPage(visit("sunrise", "/chat/"))
    waits = chat.page.get_by_text("Waits for the answer above")
    chat.say(QUESTION)
    expect(chat.page.locator(".msg[aria-busy=true]")).to_have_count(1)
    chat.say("And the next one?")

    expect(waits).to_be_visible()
    expect(chat.answers).to_have_count(2)
    expect(waits).to_be_hidden()


def test_a_new_conversation_is_empty_and_the_old_one_is_not_the_next_visitors(visit):
    chat = ChatPage(visit("sunrise", "/chat/"))
    chat.ask(QUESTION)

    chat.page.get_by_label("More options").click()
    chat.page.get_by_role("button", name="New conversation").first.click()
    expect(chat.page.get_by_text("Hello, I am Ada.")).to_be_visible()
    expect(chat.questions).to_have_count(0)

    expect(ChatPage(visit("sunrise", "/chat/")).questions).to_have_count(0)


def test_the_chat_can_be_used_by_keyboard_alone_and_focus_is_always_seen(visit):
    chat = ChatPage(visit("sunrise", "/chat/"))
    keys = chat.page.keyboard

    keys.press("Tab")
    expect(chat.page.get_by_role("link", name="Skip to the message box")).to_be_focused()
    keys.press("Enter")
    keys.type(QUESTION)
    expect(chat.box).to_have_value(QUESTION)
    keys.press("Enter")
    expect(chat.answers).to_have_count(1)
    expect(chat.box).to_be_focused()

    stops = []
    for _ in range(20):
        keys.press("Shift+Tab")
        stops.append(chat.page.evaluate(FOCUS))
        if stops[-1]["does"] == "source":
            break
    assert stops[-1]["does"] == "source", stops
    assert all(stop["seen"] for stop in stops), stops
    keys.press("Enter")
    expect(chat.sources.locator("blockquote")).to_contain_text(FACT)
    keys.press("Escape")
    expect(chat.sources).to_have_count(0)
    assert chat.page.evaluate(FOCUS)["does"] == "source"


# What has focus, and whether a line of at least 2 px around it or its frame says so.
FOCUS = """() => {
  const held = document.activeElement;
  const line = (node) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(node);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  return { what: held.outerHTML.slice(0, 80), does: held.dataset.do, seen: line(held) || line(held.parentElement) };
}"""
