"""Making tenants: working at once, absent after a refusal, finished after a kill."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client

from agents import publishing
from branding.models import Branding
from metering import plans
from platform_site.errors import BadInput, Conflict
from tenants import names, provisioning
from tenants.context import acting_for, acting_for_platform
from tenants.errors import BadName, NameTaken
from tenants.models import Domain, Tenant
from tests.conftest import host_of
from tests.threads import Threads

ROOT = Path(__file__).resolve().parents[2]


def tenants_named(name: str) -> int:
    """How many rows there are."""
    with acting_for_platform("a test"):
        return Tenant.objects.filter(name__iexact=name).count()


def test_a_new_tenant_can_be_used_at_once(make_tenant):
    tenant = make_tenant("fresh")
    assert Client(headers={"host": host_of(tenant)}).get("/chat/").status_code == 200
    with acting_for(tenant):
        assert publishing.live_version().number == 1
        assert plans.allowances().sessions == 50
        assert Branding.objects.get().name == tenant.name


def test_a_name_or_address_is_given_once(make_tenant):
    tenant = make_tenant("once")
    for clash in ({"name": tenant.name.upper()}, {"name": uuid4().hex, "slug": tenant.slug}):
        with pytest.raises(NameTaken):
            provisioning.create(
                vertical="healthcare", plan="pro", by="a test", **{"slug": f"s{uuid4().hex[:8]}"} | clash
            )


@pytest.mark.parametrize(
    "slug",
    [
        "admin",
        "public",
        "platform",
        "pg-x",
        "xn--abc",
        "a",
        "-ab",
        "ab-",
        "Ab",
        "a_b",
        "a" * 41,
        "a b",
        'a"b',
        "ä",
        "1ab",
    ],
)
def test_a21_an_address_that_could_be_mistaken_is_refused_and_nothing_is_made(slug):
    name = f"Name {uuid4().hex}"
    with pytest.raises(BadName):
        provisioning.create(name=name, slug=slug, vertical="healthcare", plan="pro", by="a test")
    assert tenants_named(name) == 0


@pytest.mark.parametrize("name", ["", "x", "a" * 101, "a\nb\x00c", "Public", "isolation  Probe (synthetic)"])
def test_a21_a_bad_name_is_refused(name):
    with pytest.raises(BadName):
        provisioning.create(name=name, vertical="healthcare", plan="pro", by="a test")


def test_a21_the_operators_host_and_a_host_of_another_tenant_are_no_addresses(acme, settings):
    taken, operators = f"s{uuid4().hex[:8]}", f"s{uuid4().hex[:8]}"
    settings.PLATFORM_HOST = names.host_for(operators)
    with acting_for_platform("a test"):
        Domain.objects.create(domain=names.host_for(taken), tenant_id=acme.id, is_primary=False)
    for slug, error in ((taken, NameTaken), (operators, BadName)):
        with pytest.raises(error):
            provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a test")
        assert tenants_named(slug) == 0


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "", "Europe/London\x00"])
def test_a_time_zone_that_does_not_exist_is_refused(zone):
    name = f"Name {uuid4().hex[:8]}"
    with pytest.raises(BadName):
        provisioning.create(name=name, vertical="healthcare", plan="pro", time_zone=zone, by="a test")
    assert tenants_named(name) == 0


def test_r15_of_runs_for_one_name_at_once_one_makes_the_tenant():
    name = f"race-{uuid4().hex[:8]}"

    def make(_) -> str:
        try:
            return provisioning.create(name=name, vertical="healthcare", plan="pro", by="a test").state
        except Conflict as error:
            return error.code

    with Threads(4) as threads:
        made = sorted(threads.map(make, range(4)))
    assert made[0] == "active"
    assert set(made[1:]) <= {"conflict", "name_taken"}
    assert Client(headers={"host": names.host_for(name)}).get("/chat/").status_code == 200


@pytest.mark.parametrize("order", [{"plan": "gold"}, {"vertical": "piracy"}])
def test_an_order_that_no_app_can_fill_makes_nothing(order):
    name = f"Name {uuid4().hex}"
    with pytest.raises(BadInput):
        provisioning.create(name=name, by="a test", **{"vertical": "healthcare", "plan": "pro"} | order)
    assert tenants_named(name) == 0


def test_r15_what_a_killed_run_left_behind_is_unreachable_and_finished_by_the_next(make_tenant):
    name = f"half-{uuid4().hex[:8]}"
    with acting_for_platform("a test"):
        provisioning._claim(name, name, "healthcare")
    assert Client(headers={"host": names.host_for(name)}).get("/chat/").status_code == 404
    tenant = provisioning.create(name=name, slug=name, vertical="healthcare", plan="pro", by="a test")
    assert Client(headers={"host": names.host_for(name)}).get("/chat/").status_code == 200
    assert tenant.state == "active"


def test_each_tenant_has_a_role_of_its_own_that_cannot_log_in(acme, globex):
    assert acme.role != globex.role
    with acting_for(acme), connections[acme.alias].cursor() as cursor:  # wherever it was placed
        cursor.execute("select rolcanlogin, rolsuper, rolbypassrls from pg_roles where rolname = %s", [acme.role])
        assert cursor.fetchone() == (False, False, False)
        cursor.execute("select pg_get_userbyid(nspowner) from pg_namespace where nspname = %s", [acme.schema])
        assert cursor.fetchone() == (acme.role,)


ORDER = {"vertical": "healthcare", "plan": "pro"}


def test_the_command_prints_addresses_and_an_invitation_that_works():
    name = f"Harbour {uuid4().hex[:8]}"
    command = [sys.executable, "manage.py", "create_tenant", name, "--vertical=healthcare", "--plan=pro", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    host = names.host_for(names.slug_for(name))
    assert made["chat_url"] == f"{names.address(host)}/chat/"
    path = made["invitation"].split(host, 1)[1].lstrip(":0123456789")
    assert Client(headers={"host": host}).get(path).status_code == 200
    with pytest.raises(CommandError, match="exists already"):
        call_command("create_tenant", name, **ORDER)


def test_without_a_mail_server_the_command_still_gives_the_invitation(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    name, out = f"Harbour {uuid4().hex[:8]}", io.StringIO()
    with pytest.raises(CommandError, match="not an e-mail address"):
        call_command("create_tenant", name, owner_email="nobody", **ORDER)
    call_command("create_tenant", name, stdout=out, **ORDER)
    assert "did not take it" in out.getvalue()
    host = names.host_for(names.slug_for(name))
    path = out.getvalue().split("Invitation  ")[1].split()[0].split(host, 1)[1].lstrip(":0123456789")
    assert Client(headers={"host": host}).get(path).status_code == 200
