"""axe finds nothing to object to on any page, in both schemes, on a desk and on a phone."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tenants import lifecycle
from tenants.context import acting_for_platform
from tenants.isolation import runs
from tenants.models import Move
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.pages import ChatPage

QUESTION = "When is the baby clinic?"
# axe loads no style sheets by itself (the policy forbids that), and nothing is measured half faded.
RUN = """async (rules) => {
  document.getAnimations().forEach((one) => one.finish());
  const { violations } = await axe.run(document, { preload: false, resultTypes: ["violations"], ...rules });
  return violations.flatMap(({ id, help, nodes }) => nodes.map(
    ({ target, failureSummary }) => [id, help, target.join(" "), failureSummary].join("\\n  ")));
}"""
# What a scheme can change; the rest of a page is the same in both.
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast", "link-in-text-block"]}}

OPEN_TO_ALL = {
    "chat": "/chat/",
    "login": "/accounts/login/",
    "forgotten password": "/accounts/password/reset/",
}
PORTAL = {
    "overview": "/",
    "knowledge": "/knowledge/?question=When+is+the+baby+clinic%3F",
    "agents": "/agents/",
    "branding": "/branding/",
    "team": "/team/",
    "developers": "/developers/",
    "usage": "/usage/",
}
ADMIN = {
    "today": "/admin/",
    "tenant list": "/admin/tenants/tenant/",
    "usage records": "/admin/metering/ledgerline/",
}


def check(page: Page) -> None:
    """All four looks of a page; none is wider than the window."""
    page.evaluate(AXE_SCRIPT)
    found = {}
    for width, height in (DESKTOP, PHONE):
        page.set_viewport_size({"width": width, "height": height})
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found[f"{width} px"] = [f"too wide by {wide} px"]
        for scheme, rules in RULES.items():
            page.emulate_media(color_scheme=scheme)
            if violations := page.evaluate(RUN, rules):
                found[f"{width} px, {scheme}"] = violations
    assert not found, "\n".join(f"{look}: {one}" for look, violations in found.items() for one in violations)


@pytest.mark.parametrize("path", OPEN_TO_ALL.values(), ids=OPEN_TO_ALL)
def test_nothing_bars_anybody_from_a_page_that_is_open_to_all(visit, path):
    check(visit("sunrise", path))


def test_nothing_bars_anybody_from_an_answer_and_its_source(visit):
    chat = ChatPage(visit("sunrise", "/chat/"))
    answer = chat.ask(QUESTION)
    chat.page.locator("[data-greeting] summary").click()
    check(chat.page)
    answer.get_by_role("list", name="Sources").get_by_role("button").first.click()
    check(chat.page)


@pytest.mark.parametrize("path", PORTAL.values(), ids=PORTAL)
def test_nothing_bars_anybody_from_a_portal_page(visit, owner_state, path):
    check(visit("sunrise", path, state=owner_state))


def test_nothing_bars_anybody_from_an_agents_page(visit, owner_state):
    page = visit("sunrise", "/agents/", state=owner_state)
    page.get_by_role("link", name="Ada").click()
    expect(page.get_by_label("Instructions")).to_be_visible()
    check(page)


@pytest.mark.parametrize("path", ADMIN.values(), ids=ADMIN)
def test_nothing_bars_anybody_from_an_operators_page(visit, operator_state, path):
    check(visit("platform", path, state=operator_state))


@pytest.mark.parametrize("kind", ["tenants/tenant", "agents/agentconfig", "branding/branding"])
def test_nothing_bars_anybody_from_an_operators_form(visit, operator_state, kind):
    page = visit("platform", f"/admin/{kind}/", state=operator_state)
    page.locator("#result_list tbody").get_by_role("link").first.click()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_visible()
    check(page)


def test_nothing_bars_anybody_from_the_pages_of_moves_and_running_checks(visit, make_tenant, operator_state):
    acme = make_tenant("acme")
    with acting_for_platform("a test"):
        row = lifecycle.named(acme.slug)
        move = Move.objects.create(
            tenant=row, source=row.database, state="retained", target=row.database, ordered_by="a test", error="No."
        )
        run = runs.start([row], by="a test")
    pages = (f"move/{move.pk}/change/", f"isolationcheck/run/{run}/")
    for path in pages:
        check(visit("platform", f"/admin/tenants/{path}", state=operator_state))
    form = visit("platform", f"/admin/tenants/tenant/{acme.id}/change/", state=operator_state)
    form.get_by_label("Regulated").check()
    form.get_by_role("button", name="Save", exact=True).click()
    expect(form.get_by_role("button", name="Only set the flag")).to_be_visible()
    check(form)
    form.get_by_role("link", name="Cancel").click()
    form.goto(form.url.replace(f"{acme.id}/change/", f"?q={acme.slug}"))
    form.get_by_label("Select all").check()
    form.locator("select[name=action]").select_option("suspend")
    form.get_by_role("button", name="Go", exact=True).click()
    expect(form.get_by_label("Why? Their staff read this")).to_be_visible()
    check(form)
    with acting_for_platform("a test"):
        move.delete()
