"""API keys in the portal: shown once, then used, then revoked."""

import re
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.accounts.models import ApiKey, User
from tenants.context import acting_for
from tenants.models import AuditEvent


def test_a_key_is_shown_once_works_on_its_host_only_and_dies_when_revoked(world):
    browser = world.acme.browser("owner")
    page = browser.post("/developers/", {"name": "Import", "scopes": ["branding:read"]}).content.decode()
    key = re.search(r'value="(atr_\w+_[\w-]+)"', page)[1]
    assert "I have stored it" in page
    later = browser.get("/developers/").content.decode()
    assert "Import" in later and key not in later and key.split("_", 3)[3] not in later
    program = {"authorization": f"Bearer {key}"}
    assert world.acme.browser().get("/api/v1/branding/", headers=program).status_code == 200
    assert world.acme.browser().get("/api/v1/usage/", headers=program).status_code == 403
    assert world.globex.browser().get("/api/v1/branding/", headers=program).status_code == 401
    with acting_for(world.acme.tenant):
        row = ApiKey.objects.get(name="Import")
    assert browser.post(f"/developers/{row.pk}/revoke/").url == "/developers/"
    assert world.acme.browser().get("/api/v1/branding/", headers=program).status_code == 401


def test_a_key_that_may_nothing_is_not_made_and_what_was_typed_stays(world):
    page = world.acme.browser("owner").post("/developers/", {"name": "Empty"})
    assert page.status_code == 400
    assert "Choose at least one thing" in page.content.decode() and 'value="Empty"' in page.content.decode()
    with acting_for(world.acme.tenant):
        assert not ApiKey.objects.filter(name="Empty").exists()


@pytest.fixture
def leaver(world):
    """An admin of acme, the browser they are in, and a program with a key that they made there."""
    with acting_for(world.acme.tenant):
        person = User.objects.create(email=f"{uuid4().hex[:8]}@acme.example", role="admin", password="!", name="Kim")
    browser = Client(headers={"host": world.acme.host})
    with acting_for(world.acme.tenant):
        browser.force_login(person, backend="tenants.accounts.backends.RoleBackend")
    page = browser.post("/developers/", {"name": f"Export {person.pk}", "scopes": ["branding:read"]}).content.decode()
    key = re.search(r'value="(atr_\w+_[\w-]+)"', page)[1]
    return person, Client(headers={"host": world.acme.host, "authorization": f"Bearer {key}"})


def switch(world, person: User, state: str) -> str:
    """What the owner reads after switching somebody off or on."""
    form = {"action": state, "id": str(person.pk)}
    return world.acme.browser("owner").post("/team/", form, follow=True).content.decode()


def test_b6_a_key_stops_when_its_maker_is_switched_off_and_says_so_to_its_holder(world, leaver):
    person, program = leaver
    assert program.get("/api/v1/branding/").status_code == 200
    assert "Kim cannot sign in any more. The API key that they made has stopped" in switch(world, person, "off")
    refused = program.get("/api/v1/branding/")
    assert (refused.status_code, refused.json()["code"]) == (401, "key_without_maker")
    assert "left the team" in refused.json()["text"] and "WWW-Authenticate" in refused
    listed = world.acme.browser("owner").get("/developers/").content.decode()
    assert (
        "stopped, because the person who answered for" in listed and f'aria-label="Keep Export {person.pk}"' in listed
    )
    assert "works again" in switch(world, person, "on")
    assert program.get("/api/v1/branding/").status_code == 200


def test_b6_a_wrong_secret_is_not_told_that_the_key_has_stopped(world, leaver):
    person, program = leaver
    switch(world, person, "off")
    guessed = program.defaults["HTTP_AUTHORIZATION"][:-5] + "wrong"
    answer = Client(headers={"host": world.acme.host, "authorization": guessed}).get("/api/v1/branding/")
    assert answer.json()["code"] == "bad_key"


def test_b6_a_key_of_somebody_who_was_removed_is_listed_and_can_be_kept_by_a_colleague(world, leaver):
    person, program = leaver
    with acting_for(world.acme.tenant):
        User.objects.filter(pk=person.pk)._raw_delete(world.acme.tenant.alias)
        row = ApiKey.objects.get(maker_id=person.pk)
    assert program.get("/api/v1/branding/").json()["code"] == "key_without_maker"
    owner = world.acme.browser("owner")
    assert f'aria-label="Keep {row.name}"' in owner.get("/developers/").content.decode()
    assert world.globex.browser("owner").post(f"/developers/{row.pk}/keep/").status_code == 404
    assert world.acme.browser("builder").post(f"/developers/{row.pk}/keep/").status_code == 403
    page = owner.post(f"/developers/{row.pk}/keep/", follow=True).content.decode()
    assert "works again. You answer for it" in page and f'aria-label="Keep {row.name}"' not in page
    assert program.get("/api/v1/branding/").status_code == 200
    with acting_for(world.acme.tenant):
        assert AuditEvent.objects.filter(action="key.kept", details__name=row.name).count() == 1


def test_a_revoked_key_cannot_be_kept(world, leaver):
    person, program = leaver
    switch(world, person, "off")
    with acting_for(world.acme.tenant):
        row = ApiKey.objects.get(maker_id=person.pk)
    owner = world.acme.browser("owner")
    owner.post(f"/developers/{row.pk}/revoke/")
    assert owner.post(f"/developers/{row.pk}/keep/").status_code == 404
    assert program.get("/api/v1/branding/").json()["code"] == "bad_key"


def test_b6_a_key_costs_one_statement_to_check(world, leaver):
    _, program = leaver
    program.get("/api/v1/branding/")
    with CaptureQueriesContext(connections[world.acme.tenant.alias]) as queries:
        program.get("/api/v1/branding/")
    assert len([query for query in queries if "accounts_" in query["sql"]]) == 1
