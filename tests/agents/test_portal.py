"""The agents' pages: edit, publish, and two editors at once."""

import html
import re

import pytest

from agents.models import AgentConfig, AgentVersion
from tenants.context import acting_for
from tests.metering.planned import put_on_plan


@pytest.fixture
def editor(acme, make_staff, client_of):
    """A builder's browser, and the page of acme's agent."""
    with acting_for(acme):
        agent = AgentConfig.objects.get()
    return client_of(acme, make_staff(acme, "builder", name="Bo Berg")), f"/agents/{agent.pk}/"


def form_of(page: str) -> dict:
    """The fields of the page's form as a browser would send them."""
    based_on = re.search(r'name="based_on" value="([^"]+)"', page)[1]
    area = {name: re.search(rf'<textarea name="{name}"[^>]*>\n?([^<]*)<', page)[1] for name in TEXTS}
    line = {name: re.search(rf'name="{name}" value="([^"]*)"', page)[1] for name in ("name", "notice")}
    tools = re.findall(r'name="tools" value="(\w+)"[^>]* checked', page)
    return {name: html.unescape(text) for name, text in (area | line).items()} | {
        "based_on": html.unescape(based_on), "tools": tools, "model": ""
    }  # fmt: skip


TEXTS = ("greeting", "instructions", "suggestions")


def test_a_draft_is_saved_compared_and_published(acme, editor):
    browser, address = editor
    form = form_of(browser.get(address).content.decode())
    saved = browser.post(address, form | {"greeting": "Good day", "suggestions": "One?\n\n  Two?  ", "action": "save"})
    assert saved.status_code == 302
    page = browser.get(address).content.decode()
    assert "Draft saved. Customers see it when you publish." in page
    assert "2 changes not live" in page and "<td>Good day</td>" in page
    browser.post(address, form_of(page) | {"action": "publish", "note": "Politer"})
    page = browser.get(address).content.decode()
    assert "Version 2 is live" in page and "not live" not in page and "Politer" in page and "Bo Berg" in page
    with acting_for(acme):
        assert AgentVersion.objects.get(number=2).suggestions == ["One?", "Two?"]


def test_saving_what_the_page_shows_changes_nothing(acme, editor):
    browser, address = editor
    form = form_of(browser.get(address).content.decode())
    with acting_for(acme):
        before = AgentConfig.objects.values(*AgentConfig.SETTINGS).get()
    browser.post(address, {name: str(v).replace("\n", "\r\n") if name != "tools" else v for name, v in form.items()})
    with acting_for(acme):
        after = AgentConfig.objects.values(*AgentConfig.SETTINGS).get()
    assert after == before


def test_of_two_editors_the_second_sees_both_and_can_keep_theirs_or_mine(acme, editor):
    browser, address = editor
    form = form_of(browser.get(address).content.decode())
    browser.post(address, form | {"greeting": "The first"})
    told = browser.post(address, form | {"greeting": "The second"})
    page = told.content.decode()
    assert told.status_code == 409
    for part in ("Bo Berg saved this", "Keep mine as the draft", "Take theirs", "The first", "The second"):
        assert part in page, part
    with acting_for(acme):
        assert AgentConfig.objects.get().greeting == "The first"
    browser.post(address, form_of(page) | {"action": "save"})
    with acting_for(acme):
        assert AgentConfig.objects.get().greeting == "The second"


def test_a_fault_is_told_and_what_was_written_stays(acme, editor):
    browser, address = editor
    form = form_of(browser.get(address).content.decode())
    answer = browser.post(address, form | {"name": "", "greeting": "Not lost", "suggestions": "1\n2\n3\n4\n5"})
    page = answer.content.decode()
    assert answer.status_code == 400 and "Not lost" in page
    assert "This field is required." in page and "Write at most 4 questions" in page
    answer = browser.post(address, form | {"tools": ["rm_rf"]})
    assert answer.status_code == 400


def test_the_list_shows_what_is_live(acme, editor):
    browser, _ = editor
    page = browser.get("/agents/").content.decode()
    assert "Live, version 1" in page and "Answers in the chat" in page


def test_a_reader_sees_the_agent_but_no_buttons(acme, make_staff, client_of):
    browser = client_of(acme, make_staff(acme, "analyst"))
    with acting_for(acme):
        agent = AgentConfig.objects.get()
    page = browser.get(f"/agents/{agent.pk}/").content.decode()
    assert "You can look at agents." in page and 'value="publish"' not in page and "fieldset" in page


def test_the_form_offers_the_models_of_the_plan_and_takes_no_other(acme, editor):
    put_on_plan(acme, model_names="openai/gpt-4.1\nopenai/o5")
    browser, address = editor
    page = browser.get(address).content.decode()
    offered = re.findall(r'<option value="([^"]*)"', page.partition('name="model"')[2].partition("</select>")[0])
    assert offered == ["", "openai/gpt-4.1", "openai/o5"] and "Recommended (demo)" in page
    refused = browser.post(address, form_of(page) | {"model": "openai/gpt-5", "action": "save"})
    assert refused.status_code == 400
    assert "Your plan does not include the model “openai/gpt-5”." in refused.content.decode()
    assert browser.post(address, form_of(page) | {"model": "openai/o5", "action": "save"}).status_code == 302
    put_on_plan(acme, model_names="")
    page = browser.get(address).content.decode()
    assert "openai/o5 (chosen earlier, not in your plan)" in page
    kept = form_of(page) | {"model": "openai/o5", "greeting": "Something else", "action": "save"}
    assert browser.post(address, kept).status_code == 302
    with acting_for(acme):
        assert AgentConfig.objects.values_list("model", "greeting").get() == ("openai/o5", "Something else")
