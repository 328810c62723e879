"""A session is worth something on its own host only, even where ids, addresses and passwords are equal (B5)."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from platform_site import tasks
from tenants import databases
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tenants.models import Database, Tenant
from tests.accounts.conftest import PASSWORD


def sign_in(browser, email: str):
    return browser.post("/accounts/login/", {"login": email, "password": PASSWORD})


def is_signed_in(browser, path: str = "/team/") -> bool:
    return browser.get(path).status_code == 200


def carry(source, target) -> None:
    """All cookies of one browser, as a thief would carry them."""
    for name, morsel in source.cookies.items():
        target.cookies[name] = morsel.value


def test_a_cookie_of_one_tenant_is_nobody_at_another_and_at_the_platform(world):
    thief = world.acme.browser()
    sign_in(thief, world.acme.people["owner"].email)
    assert is_signed_in(thief)
    at_globex, at_platform = world.globex.browser(), world.operators_browser()
    carry(thief, at_globex)
    carry(thief, at_platform)
    assert not is_signed_in(at_globex)
    assert at_globex.get("/").url.startswith("/accounts/login/")
    assert not is_signed_in(at_platform, "/admin/")


def test_an_operators_cookie_is_nobody_at_a_tenant(world):
    operator = world.operators_browser()
    assert sign_in(operator, world.operator.email).url == "/admin/"
    assert is_signed_in(operator, "/admin/")
    at_acme = world.acme.browser()
    carry(operator, at_acme)
    assert not is_signed_in(at_acme)


def test_a_session_row_copied_to_another_tenant_is_refused_by_its_stamp(world):
    browser = world.acme.browser("owner")
    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    with acting_for(world.acme.tenant):
        row = Session.objects.get(pk=key)
    with acting_for(world.globex.tenant):
        Session.objects.create(session_key=key, session_data=row.session_data, expire_date=row.expire_date)
    at_globex = world.globex.browser()
    carry(browser, at_globex)
    assert is_signed_in(browser) and not is_signed_in(at_globex)


def test_the_cookie_is_for_its_host_only_and_out_of_reach_for_scripts(world):
    browser = world.acme.browser()
    sign_in(browser, world.acme.people["owner"].email)
    cookie = browser.cookies[settings.SESSION_COOKIE_NAME]
    assert (cookie["domain"], cookie["httponly"], cookie["samesite"]) == ("", True, "Lax")


def test_signing_in_makes_a_new_session_id(world):
    browser, owner = world.acme.browser("builder"), world.acme.people["owner"]
    planted = browser.cookies[settings.SESSION_COOKIE_NAME].value
    browser.post("/accounts/logout/")
    browser.cookies[settings.SESSION_COOKIE_NAME] = planted
    sign_in(browser, owner.email)
    assert is_signed_in(browser)
    assert browser.cookies[settings.SESSION_COOKIE_NAME].value != planted


def test_signing_out_ends_the_session_for_a_copied_cookie_too(world):
    browser, copy = world.acme.browser("builder"), world.acme.browser()
    carry(browser, copy)
    assert is_signed_in(copy, "/agents/")
    assert browser.get("/accounts/logout/").status_code == 200
    assert is_signed_in(browser, "/agents/"), "a link to the page signs nobody out"
    assert browser.post("/accounts/logout/").url == "/accounts/login/"
    assert not is_signed_in(copy, "/agents/")


@pytest.mark.parametrize("change", ["password", "is_active"])
def test_a_new_password_or_switching_off_ends_open_sessions(world, change):
    browser, person = world.acme.browser("analyst"), world.acme.people["analyst"]
    assert is_signed_in(browser, "/agents/")
    with acting_for(world.acme.tenant):
        row = User.objects.get(pk=person.pk)
        kept = row.password
        row.password, row.is_active = (kept + "x", True) if change == "password" else (kept, False)
        row.save(update_fields=["password", "is_active"])
    assert not is_signed_in(browser, "/agents/")
    with acting_for(world.acme.tenant):
        User.objects.filter(pk=person.pk).update(password=kept, is_active=True)


def test_staff_whose_row_stands_in_the_operators_schema_get_no_admin(world):
    browser = world.acme.browser("owner")
    assert browser.get("/admin/").status_code == 404


def test_expired_sessions_are_cleared_though_another_tenants_database_is_away(acme, globex):
    with acting_for(globex):
        Session.objects.create(session_key="old", expire_date=timezone.now() - timedelta(days=1))
    with acting_for_platform("a test"):
        away = Database(name="away", state="full", host="127.0.0.1", port=9, database_name="x", login_role="x")
        away.save()
        Database.objects.filter(pk=away.pk).update(sealed_password=databases.sealed(away, "x"))
        home = Tenant.objects.get(pk=acme.id).database
        Tenant.objects.filter(pk=acme.id).update(database=away)
        try:
            tasks.clear_sessions()
        finally:
            Tenant.objects.filter(pk=acme.id).update(database=home)
            away.delete()
    with acting_for(globex):
        assert not Session.objects.filter(pk="old").exists()
