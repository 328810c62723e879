"""Operators see what tenants use, and what they change is met by the next customer."""

from playwright.sync_api import Page, expect

from agents import publishing
from tenants.context import TenantRef, acting_for
from tests.browser.pages import ChatPage, sign_in
from tests.conftest import until

ADMIN = "/admin/"
GREETING = "Good to see you. I am the new voice of this house."
INSTRUCTIONS = "You are {{agent_name}}, and you speak of the new house rules."


def test_operators_see_the_usage_of_a_minute_ago_with_model_tokens_and_cost(visit, make_tenant, operator):
    acme = make_tenant("acme")
    ChatPage(visit(acme.slug, "/chat/")).ask("Where can I park?")

    page = visit("platform", ADMIN)
    sign_in(page, operator)
    expect(page.get_by_role("heading", level=1, name="Today")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=acme.name)
    until(lambda: row.count() or page.reload() and False, seconds=30)
    when, model, tokens_in, tokens_out, cost = (cell.inner_text() for cell in row.get_by_role("cell").all())

    assert when == "just now" or "second" in when or "minute" in when
    assert model == "offline/demo"
    assert int(tokens_in.replace(",", "")) > int(tokens_out) > 0
    assert cost == "$0"

    page.get_by_role("link", name="Tenants", exact=True).click()
    _search(page, acme)
    listed = page.get_by_role("row").filter(has_text=acme.slug)
    expect(listed).to_contain_text("Active")
    expect(listed).to_contain_text("Pro")


def test_a_changed_greeting_prompt_and_colour_are_met_by_the_next_customer(visit, make_tenant, operator):
    acme = make_tenant("acme")
    before = ChatPage(visit(acme.slug, "/chat/"))
    expect(before.page.locator("[data-greeting]")).to_contain_text("Hello, I am Ada.")
    page = visit("platform", ADMIN)
    sign_in(page, operator)

    page.get_by_role("link", name="Agents", exact=True).click()
    _open_first(page, acme)
    page.get_by_label("First message").fill(GREETING)
    page.get_by_label("Instructions").fill(INSTRUCTIONS)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Version 2 is live.")).to_be_visible()
    page.get_by_role("link", name="Brands", exact=True).click()
    _open_first(page, acme)
    page.get_by_label("Colour:").fill("#a3195b")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()

    chat = ChatPage(visit(acme.slug, "/chat/"))
    expect(chat.page.locator("[data-greeting]")).to_contain_text(GREETING)
    chat.box.fill("Hello")
    expect(chat.page.get_by_role("button", name="Send")).to_have_css("background-color", "rgb(163, 25, 91)")
    with acting_for(acme):
        assert publishing.live_version().instructions == INSTRUCTIONS


def test_a_regulated_tenant_is_promoted_and_its_page_follows_the_move_by_itself(visit, make_tenant, operator):
    acme = make_tenant("acme")
    page = visit("platform", f"{ADMIN}tenants/tenant/{acme.id}/change/")
    sign_in(page, operator)
    page.get_by_label("Regulated").press("Space")
    page.get_by_role("button", name="Save", exact=True).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Give {acme.name} a database of its own?")
    page.get_by_role("button", name="Promote now").press("Enter")

    page.evaluate("window.stayed = true")  # a reload would forget it
    expect(page.get_by_role("heading", level=2, name="Moved; the old copy is kept")).to_be_visible()
    expect(page.locator("[aria-current=step]")).to_contain_text("The old copy is kept for a day")
    expect(page.get_by_role("status").first).to_contain_text("100 %")
    expect(page.get_by_role("button", name="Cancel the move")).to_be_hidden()
    assert page.evaluate("window.stayed")
    assert ChatPage(visit(acme.slug, "/chat/")).ask("Where can I park?").inner_text()

    page.get_by_role("link", name=acme.name, exact=True).click()
    page.get_by_label("Regulated").uncheck()
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("link", name="Moved; the old copy is kept").click()
    page.get_by_role("button", name="Go back…").click()
    page.get_by_role("button", name="Go back", exact=True).click()
    expect(page.get_by_text("Takes back")).to_be_visible()
    expect(page.get_by_role("heading", level=2, name="Moved; the old copy is kept")).to_be_visible()
    page.get_by_role("button", name="Finish now…").click()
    page.get_by_role("button", name="Remove the old copy").click()
    expect(page.get_by_role("heading", level=2, name="Done")).to_be_visible()


def _search(page: Page, tenant: TenantRef) -> None:
    page.locator("#searchbar").fill(tenant.slug)
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**q=*")


def _open_first(page: Page, tenant: TenantRef) -> None:
    _search(page, tenant)
    page.locator("#result_list tbody").get_by_role("link").first.click()
    expect(page.locator(".of-tenant")).to_have_text(tenant.name)
