"""A tenant's pages and letters never name the platform."""

import re

import pytest
from django.core import mail

from agents.models import AgentConfig
from branding.models import Branding
from platform_site import urls_tenant
from tenants.context import acting_for

SIGN_IN = [
    "/accounts/login/", "/accounts/password/reset/", "/accounts/password/reset/done/", "/accounts/signup/",
    "/accounts/password/reset/key/1-abc/", "/accounts/password/reset/key/done/", "/accounts/inactive/",
]  # fmt: skip


@pytest.fixture
def owner(acme, make_staff, client_of):
    with acting_for(acme):
        Branding.objects.update(powered_by_visible=False)
    return client_of(acme, make_staff(acme))


def named(response) -> list[str]:
    """Where a page or its headers name the platform."""
    whole = "\n".join(f"{name}: {value}" for name, value in response.items()) + response.content.decode()
    return [whole[max(0, found.start() - 60) : found.end() + 40] for found in re.finditer("(?i)atrium", whole)]


def test_sign_in_pages_carry_the_tenant_only(acme, client_of):
    browser = client_of(acme)
    for path in SIGN_IN:
        page = browser.get(path)
        assert page.status_code == 200 and acme.name in page.content.decode(), path
        assert named(page) == [], path


def test_portal_pages_carry_the_tenant_only(acme, owner):
    with acting_for(acme):
        agent = AgentConfig.objects.get()
    paths = [f"/{route.pattern}" for route in urls_tenant.portal_urls if "<" not in str(route.pattern)]
    pages = {path: owner.get(path) for path in [*paths, f"/agents/{agent.pk}/", "/chat/", "/accounts/logout/"]}
    for path, page in pages.items():
        if page.status_code != 405:
            assert page.status_code in (200, 302), path
            assert named(page) == [], path
    for path in ("/", "/agents/", "/branding/", "/team/", "/developers/", "/usage/", "/knowledge/"):
        assert f" · {acme.name}</title>" in pages[path].content.decode(), path


def test_pages_of_what_is_not_there_or_not_allowed_carry_the_tenant_only(acme, owner, make_staff, client_of):
    assert (missing := owner.get("/nothing-here/")).status_code == 404
    assert (refused := client_of(acme, make_staff(acme, "responder")).get("/team/")).status_code == 403
    for page in (missing, refused):
        assert acme.name in page.content.decode() and named(page) == []


def test_letters_carry_the_tenant_only(acme, owner, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    owner.post("/team/", {"action": "invite", "email": "new@acme.example", "role": "builder"})
    owner.post("/accounts/password/reset/", {"email": "new@acme.example"})
    assert len(mail.outbox) == 2
    for letter in mail.outbox:
        whole = letter.message().as_string()
        assert acme.name in letter.subject and "atrium" not in whole.lower()


def test_the_operators_host_has_the_platforms_own_plain_look(client):
    page = client.get("/accounts/login/", headers={"host": "platform.localhost"}).content.decode()
    assert "Atrium" in page and "theme.css" not in page
