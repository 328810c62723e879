"""Who may open what: one table of rights, checked at every route of the portal (B11)."""

import re
from uuid import uuid4

import pytest
from django.urls import get_resolver

from agents.models import AgentConfig
from platform_site import urls_tenant
from tenants.accounts import roles
from tenants.context import acting_for

OPEN_TO_ALL = {"invitation"}  # its secret is the right


def portal_routes():
    """Each route of the portal as ``(name, view, a path)``."""
    for route in urls_tenant.portal_urls:
        path = "/" + re.sub(r"<(?:\w+:)?\w+>", str(uuid4()), str(route.pattern))
        yield route.name, route.callback, path


ROUTES = list(portal_routes())


def test_every_route_of_the_portal_names_a_right_that_exists():
    assert len(ROUTES) > 12
    for name, view, _ in ROUTES:
        if name not in OPEN_TO_ALL:
            assert getattr(view, "permission", None) in roles.SENTENCES, name


def test_the_portals_routes_are_all_that_stands_outside_chat_api_and_sign_in():
    apart = ("chat/", "api/", "accounts/", "healthz", "readyz", "theme.css", "icon.svg", "widget")
    others = [str(entry.pattern) for entry in get_resolver("platform_site.urls_tenant").url_patterns]
    assert [pattern for pattern in others if pattern and not pattern.startswith(apart)] == []


def test_nobody_is_sent_to_sign_in_from_every_page(world):
    browser = world.acme.browser()
    for name, _, path in ROUTES:
        if name not in OPEN_TO_ALL:
            for response in (browser.get(path), browser.post(path)):
                assert response.status_code == 302 and response.url.startswith("/accounts/login/?next="), name


@pytest.mark.parametrize("role", roles.RIGHTS)
def test_each_role_opens_what_the_table_says_and_nothing_else(world, role):
    browser = world.acme.browser(role)
    for name, view, path in ROUTES:
        if name in OPEN_TO_ALL:
            continue
        allowed = view.permission in roles.RIGHTS[role]
        seen, sent = browser.get(path).status_code, browser.post(path).status_code
        assert (seen == 403) is not allowed, (role, name, seen)
        assert sent == 403 or allowed, (role, name, sent)  # to change something may need more than to see it


@pytest.mark.parametrize(
    ("role", "path", "form"),
    [
        ("analyst", "/agents/{agent}/", {"action": "save", "name": "Mine"}),
        ("analyst", "/agents/{agent}/", {"action": "publish", "name": "Mine"}),
        ("responder", "/branding/", {"action": "save", "colour": "#000000"}),
        ("builder", "/team/", {"action": "invite", "email": "x@y.example", "role": "owner"}),
        ("builder", "/developers/", {"name": "k", "scopes": "usage:read"}),
    ],
)
def test_who_may_only_look_cannot_send_the_form(world, role, path, form):
    with acting_for(world.acme.tenant):
        agent = AgentConfig.objects.get()
    response = world.acme.browser(role).post(path.format(agent=agent.pk), form)
    assert response.status_code == 403
    with acting_for(world.acme.tenant):
        assert AgentConfig.objects.get().updated_at == agent.updated_at


def test_the_navigation_shows_a_role_only_what_it_may_open(world):
    page = world.acme.browser("responder").get("/").content.decode()
    assert 'href="/knowledge/"' in page
    for closed in ("/agents/", "/branding/", "/team/", "/developers/", "/usage/"):
        assert f'href="{closed}"' not in page, closed
