"""A builder tries an agent beside its form, and customers hear nothing of it."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import sign_in, write
from tests.browser.test_accessibility import check
from tests.knowledge.ingesting import add, ended

QUESTION = "What does a visit to the harbour museum cost?"


@pytest.fixture
def acme(make_tenant):
    return make_tenant("acme")


@pytest.fixture
def agent_page(visit, acme, make_staff) -> Page:
    """The page of acme's agent, whose documents answer QUESTION."""
    document = add(acme, "# Harbour museum\n\nA visit to the harbour museum costs 12 euro.", "museum.md")
    ended(acme, document)
    page = visit(acme.slug, "/agents/")
    sign_in(page, make_staff(acme, role="builder").email)
    page.locator("main a[href^='/agents/']").first.click()
    return page


def test_the_saved_draft_answers_with_its_sources_and_customers_meet_the_live_version(visit, agent_page, acme):
    trial = agent_page.get_by_role("region", name="Test chat", exact=True)
    write(agent_page, QUESTION)
    answer = trial.locator(".msg.theirs[data-message]")
    expect(answer).to_contain_text("12 euro")
    answer.get_by_role("button", name="museum").click()
    expect(agent_page.get_by_role("dialog").locator("blockquote")).to_contain_text("costs 12 euro")
    agent_page.keyboard.press("Escape")

    agent_page.get_by_label("First message").fill("A greeting in the making")
    agent_page.get_by_role("button", name="Save draft").first.click()
    expect(trial.locator("[data-greeting]")).to_contain_text("A greeting in the making")
    expect(answer).to_contain_text("12 euro")  # it is still there

    trial.get_by_role("button", name="Live").click()
    expect(trial).to_contain_text("Version 1 answers")
    expect(trial.locator("[data-greeting]")).not_to_contain_text("in the making")
    expect(visit(acme.slug, "/chat/").locator("[data-greeting]")).not_to_contain_text("in the making")


def test_an_answer_can_be_stopped_and_the_conversation_started_over(agent_page):
    trial = agent_page.get_by_role("region", name="Test chat", exact=True)
    write(agent_page, QUESTION)
    stop = trial.get_by_role("button", name="Stop the answer")
    expect(stop).to_be_visible()
    stop.click()
    expect(stop).to_be_hidden()
    expect(trial.locator(".msg.mine")).to_have_count(1)
    trial.get_by_role("button", name="Start over").click()
    expect(trial.locator(".msg.mine")).to_have_count(0)
    write(agent_page, QUESTION)
    expect(trial.locator(".msg.theirs[data-message]")).to_contain_text("12 euro")


def test_a_test_chat_goes_on_after_the_connection_broke(visit, agent_page):
    trial = agent_page.get_by_role("region", name="Test chat", exact=True)
    breaks = []

    def cut(route):
        breaks.append(route)
        route.abort() if len(breaks) == 1 else route.continue_()

    agent_page.route("**/test/?version=draft", cut)
    visit.expect_fault("ERR_FAILED")
    write(agent_page, QUESTION)
    expect(trial.locator(".msg.theirs[data-message]")).to_contain_text("12 euro")
    assert len(breaks) == 2


def test_axe_finds_nothing_on_an_agents_page_with_its_test_chat(agent_page):
    write(agent_page, QUESTION)
    expect(agent_page.locator(".msg.theirs[data-message]")).to_contain_text("12 euro")
    check(agent_page)
