"""The isolation check: green where every wall stands, red as soon as one does not."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from platform_site.errors import BadInput
from tenants import names
from tenants.context import acting_for, acting_for_platform
from tenants.isolation import checking, stand_in
from tenants.models import IsolationCheck


def red(tenant) -> set[str]:
    """The codes of what leaked when the tenant is checked."""
    result = checking.check(tenant)
    assert result.ok is (not result.leaked)
    return {attempt["code"] for attempt in result.attempts if attempt["outcome"] == "LEAKED"}


def test_a_sound_tenant_is_green_and_every_attempt_was_made(acme):
    result = checking.check(acme)
    assert [attempt for attempt in result.attempts if attempt["outcome"] != "refused"] == []
    assert result.ok and result.verdict == "Sound" and result.tenant_id == acme.id
    ways = {(attempt["by"], attempt["against"]) for attempt in result.attempts}
    assert ways == {(acme.slug, names.STAND_IN), (names.STAND_IN, acme.slug)}
    with acting_for_platform("a test"):
        assert IsolationCheck.objects.get(tenant_id=acme.id).attempts == result.attempts


def test_the_synthetic_tenant_is_nobodys_customer_and_has_no_chat(acme):
    there = stand_in.get()
    assert there not in checking.customers() and acme in checking.customers()
    for path in ("/chat/", "/accounts/login/"):
        assert Client(headers={"host": names.host_for(there.slug)}).get(path).status_code == 404
    with pytest.raises(BadInput):
        checking.check(there)


def test_a_tenants_own_work_cannot_read_results(acme):
    checking.check(acme)
    with acting_for(acme), pytest.raises(Exception, match="permission denied"):
        IsolationCheck.objects.count()


def test_the_command_gives_json_and_refuses_unknown_tenants(acme):
    out = StringIO()
    call_command("check_isolation", acme.slug, json=True, stdout=out)
    (found,) = json.loads(out.getvalue())
    assert found["tenant"] == acme.slug and found["ok"] and len(found["attempts"]) > 50
    out = StringIO()
    call_command("check_isolation", acme.slug, stdout=out)
    assert "Sound" in out.getvalue()
    with pytest.raises(CommandError, match="no tenant"):
        call_command("check_isolation", "nobody-of-that-name")
