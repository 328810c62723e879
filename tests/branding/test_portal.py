"""The brand's page and the overview."""

from uuid import uuid4

import pytest

from agents import publishing
from agents.conversations import opening
from agents.conversations.visitors import known_by
from branding import overview
from branding.models import Branding
from tenants.accounts import keys
from tenants.context import acting_for
from tenants.ids import uuid7

FORM = {"name": "Acme", "colour": "#f5b700", "wallpaper": "", "radius": "16", "font": "serif", "based_on": "1"}


@pytest.fixture
def browser(acme, make_staff, client_of):
    return client_of(acme, make_staff(acme, "admin", name="Ada Berg"))


def test_a_saved_brand_is_on_the_next_page(acme, browser):
    assert browser.post("/branding/", FORM).url == "/branding/"
    page = browser.get("/branding/").content.decode()
    assert "Saved. Customers see the new look" in page and "theme.css?v=2" in page and "Branding · Acme" in page
    assert "9.9 to 1" in page and "very easy to read" in page
    with acting_for(acme):
        assert not Branding.objects.get().powered_by_visible


def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(browser):
    answer = browser.post("/branding/", FORM | {"colour": "yellow", "radius": "99"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="yellow"' in page and "Write a colour as #" in page and "less than or equal to 24" in page


def test_of_two_editors_the_second_is_told_and_may_keep_hers(acme, browser):
    browser.post("/branding/", FORM)
    answer = browser.post("/branding/", FORM | {"colour": "#123456"})
    page = answer.content.decode()
    assert answer.status_code == 409 and "Ada Berg saved this" in page and "#f5b700" in page and "#123456" in page
    assert 'name="based_on" value="2"' in page
    browser.post("/branding/", FORM | {"colour": "#123456", "based_on": "2"})
    with acting_for(acme):
        assert Branding.objects.get().colour == "#123456"


def test_the_preview_shows_what_is_typed_and_stores_nothing(acme, browser):
    typed = {"colour": "#ff0000", "radius": "3", "font": "mono", "wallpaper": "", "name": "<b>Tried</b>"}
    fragment = browser.get("/branding/preview/", typed).content.decode()
    assert "colour=%23ff0000" in fragment and "&lt;b&gt;Tried" in fragment and "5.3 to 1" in fragment
    sheet = browser.get("/branding/preview.css", typed)
    assert sheet.content.decode().startswith(".preview {\n  --brand: #ff0000;")
    assert sheet["Cache-Control"] == "private, no-store"
    unusable = browser.get("/branding/preview.css", typed | {"colour": "red;}*{color:red", "font": "x"})
    assert "red;" not in unusable.content.decode()
    with acting_for(acme):
        assert Branding.objects.get().revision == 1


def test_programs_read_the_brand_with_its_scope_only(acme, globex, client_of):
    with acting_for(acme):
        _, good = keys.create(name="k", scopes=["branding:read"], by="x")
        _, other = keys.create(name="k", scopes=["usage:read"], by="x")
    program = client_of(acme)
    body = program.get("/api/v1/branding/", headers={"authorization": f"Bearer {good}"}).json()
    assert (body["name"], body["revision"], body["ink"]) == (acme.name, 1, "#ffffff")
    assert body["stylesheet_url"] == "/theme.css?v=1"
    assert program.get("/api/v1/branding/", headers={"authorization": f"Bearer {other}"}).status_code == 403
    assert program.get("/api/v1/branding/").status_code == 401
    assert client_of(globex).get("/api/v1/branding/", headers={"authorization": f"Bearer {good}"}).status_code == 401


def test_the_overview_tells_what_is_left_to_do(acme, browser):
    page = browser.get("/").content.decode()
    assert "1 of 5 done" in page and f"{acme.slug}.localhost" in page and "/chat/" in page
    assert "Service team</b> published the agent, version 1" in page
    browser.post("/branding/", FORM)
    page = browser.get("/").content.decode()
    assert "2 of 5 done" in page and "Ada Berg</b> changed the brand" in page


@pytest.mark.parametrize(("channel", "counted"), [("page", 1), ("api", 1), ("test", 0), ("test-live", 0)])
def test_the_overview_counts_customers_and_no_trials(acme, channel, counted):
    with acting_for(acme):
        opening.open_turn(
            turn=uuid7(), conversation=uuid4(), visitor=known_by("ann", channel=channel), client_id=uuid4(),
            text="Hello?", version=publishing.live_version(), channel=channel,
        )  # fmt: skip
        assert overview.numbers()["today"] == counted
