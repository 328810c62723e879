"""API keys in the portal: shown once, then used, then revoked."""

import re

from tenants.accounts.models import ApiKey
from tenants.context import acting_for


def test_a_key_is_shown_once_works_on_its_host_only_and_dies_when_revoked(world):
    browser = world.acme.browser("owner")
    page = browser.post("/developers/", {"name": "Import", "scopes": ["branding:read"]}).content.decode()
    key = re.search(r'value="(atr_\w+_[\w-]+)"', page)[1]
    assert "I have stored it" in page
    later = browser.get("/developers/").content.decode()
    assert "Import" in later and key not in later and key.rsplit("_", 1)[1] not in later
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
