"""An owner gives the tenant an address of its own: the records to set, a look into the DNS, the way out."""

from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.pages import sign_in
from tests.browser.test_accessibility import check


def test_an_owner_adds_a_domain_copies_its_record_has_it_checked_and_removes_it(visit, acme, make_staff):
    host = f"chat-{uuid4().hex[:8]}.harbour-dental-clinic.example.com"
    visit.expect_fault("400")
    page = visit(acme.slug, "/domains/", permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, make_staff(acme).email)
    page.get_by_label("Domain", exact=True).fill("localhost")
    page.get_by_role("button", name="Add domain").press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("alert").get_by_role("link", name="Domain").press("Enter")
    expect(page.get_by_label("Domain", exact=True)).to_be_focused()

    page.get_by_label("Domain", exact=True).fill(host)
    page.get_by_role("button", name="Add domain").press("Enter")
    value = page.get_by_label(f"Value of the TXT record of {host}")
    expect(page.get_by_label(f"Name of the TXT record of {host}")).to_have_value(f"_atrium.{host}")
    page.get_by_role("button", name="Copy the value of the TXT record").press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == value.input_value()
    check(page)

    page.get_by_role("button", name=f"Check now: {host}").press("Enter")
    found = page.get_by_role("status").filter(has_text="Looked just now")
    expect(found).to_be_focused()
    page.get_by_role("link", name=f"Remove {host}").press("Enter")
    expect(page.get_by_role("heading", name=f"Remove {host}?")).to_be_visible()
    check(page)
    page.get_by_role("button", name="Remove the domain").press("Enter")
    expect(page.get_by_text(host)).to_have_count(0)
