"""Every door takes what no form of ours sends, and answers with anything but a fault of its own."""

from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client

from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tests.conftest import PASSWORD, host_of
from tests.isolation.matrix import fill, routes

READ_RAW = (
    "action", "after", "before", "email", "end_user", "id", "limit", "login", "name", "next", "note", "open",
    "password", "period", "question", "role", "search", "text", "v",
)  # fmt: skip
CANNOT_BE_STORED = ("a\x00b", "²", "9" * 5_000)
PAGES = [route for route in routes() if "z" not in route.pattern.rsplit("/", 1)[-1]]  # without the probes


@pytest.fixture
def world(make_tenant):
    """A tenant with a row of each kind, and an owner's browser."""
    victim = fill(make_tenant("acme"))
    client = Client(headers={"host": host_of(victim.tenant)}, raise_request_exception=False)
    with acting_for(victim.tenant):
        owner = User.objects.create_user("owner@a.example", role="owner")
        client.force_login(owner, backend="tenants.accounts.backends.RoleBackend")
    return victim, client


def test_h6_no_page_fails_over_what_it_is_sent(world):
    victim, client = world
    last = sorted(PAGES, key=lambda route: "invitation" in route.pattern or "logout" in route.pattern)
    for route in last:  # those sign the owner out
        for value in CANNOT_BE_STORED:
            sent = dict.fromkeys(READ_RAW, value)
            for response in (
                client.get(route.path(victim.ids), sent),
                client.post(route.path(victim.ids), sent),
                client.post(route.path(victim.ids), {"name": value, "password": PASSWORD, "scopes": ["usage:read"]}),
            ):
                assert response.status_code < 500, (route.pattern, value[:5], response.request["REQUEST_METHOD"])


@pytest.fixture
def operators_browser():
    """An operator's, on the platform's host."""
    client = Client(headers={"host": settings.PLATFORM_HOST}, raise_request_exception=False)
    with acting_for_platform("a test"):
        operator = User.objects.create_superuser(f"{uuid4().hex}@atrium.example")
        client.force_login(operator, backend="tenants.accounts.backends.RoleBackend")
    return client


def test_h6_no_operators_page_fails_over_a_nul(acme, operators_browser):
    move = f"/admin/tenants/tenant/{acme.id}/move/"
    pause = {"action": "suspend", "_selected_action": acme.id, "reason": "a\x00b", "confirmed": 1}
    release = {"action": "release", "_selected_action": "\x00"}
    for response in (
        operators_browser.get(move, {"to": "\x00"}),
        operators_browser.get("/admin/tenants/tenant/", {"state__exact": "\x00"}),
        operators_browser.post(move, {"to": "\x00"}),
        operators_browser.post("/admin/tenants/tenant/", pause),
        operators_browser.post("/admin/tenants/domainclaim/", release),
    ):
        assert response.status_code == 400, response.request["PATH_INFO"]


def test_h6_a_note_with_a_nul_is_published_without_it(world):
    victim, client = world
    page = client.get(f"/agents/{victim.ids['agent']}/")
    form = page.context["form"]
    sent = {name: form[name].value() or "" for name in form.fields} | {
        "action": "publish",
        "note": "a\x00b",
        "notice": "x",
    }
    assert client.post(f"/agents/{victim.ids['agent']}/", sent).status_code == 302
    assert "a b" in client.get(f"/agents/{victim.ids['agent']}/").content.decode()


def test_h6_programs_hear_what_is_wrong(world):
    victim, _ = world
    host = {"host": host_of(victim.tenant)}
    client = Client(headers={**host, "authorization": f"Bearer {victim.key}"}, raise_request_exception=False)
    messages = f"/api/v1/conversations/{victim.ids['conversation']}/messages/"
    for address in ("/api/v1/conversations/", messages, "/api/v1/documents/"):
        for body in ("[" * 100_000, '{"text": "\\ud800"}', '{"end_user": "\\u0000"}', "\xff"):
            response = client.post(address, body, content_type="application/json")
            assert response.status_code == 400, (address, body[:20])
    for before in ("²", "9" * 5_000, "-1", "x"):
        assert client.get(messages, {"before": before}).status_code == 400
    assert client.get(messages, {"before": 10**30}).json()["messages"]
    for key in (f"atr_{victim.tenant.id}_\x00_x", f"atr_{victim.tenant.id}_é_x", "atr_", "atr_1_2_3_4_5", "_" * 5_000):
        refused = Client(headers={**host, "authorization": f"Bearer {key}"}).get("/api/v1/usage/")
        assert refused.status_code == 401, key[:20]
