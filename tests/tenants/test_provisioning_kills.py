"""Making a tenant, killed at each statement that it sends: afterwards it is absent, or the next run makes it whole."""

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

from agents.models import AgentVersion
from branding.models import Branding
from metering.models import Subscription
from tenants import names, provisioning
from tenants.accounts import first_owner
from tenants.context import acting_for, acting_for_platform
from tenants.models import AuditEvent, Domain, Tenant
from tests.conftest import FULL

ROOT = Path(__file__).resolve().parents[2]
# Django is loaded once, then forked for each kill before any connection is open. A point is "12" (killed once the 12th
# statement has run, inside its transaction) or "-12" (killed before it, so after the commit of what went before).
KILLED = """
import io, os, sys, django
django.setup()
from django.core.management import call_command
from django.db import connections
sent = 0
def counting(execute, sql, params, many, context):
    global sent
    sent += 1
    if sent == -point:
        os._exit(9)
    result = execute(sql, params, many, context)
    if sent == point:
        os._exit(9)
    return result
def make(name):
    for connection in connections.all():
        connection.execute_wrappers.append(counting)
    call_command("create_tenant", name, vertical="healthcare", plan="pro", stdout=io.StringIO())
    print(sent, flush=True)
    os._exit(0)
for name, point in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    child = os.fork()
    if not child:
        make(name)
    if point:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, point
    else:
        os.waitpid(child, 0)
"""


def killed(points: list[int]) -> tuple[list[str], str]:
    """One tenant's name for each point at which its run was killed (0: it was not), and what was printed."""
    made = [f"killed-{uuid4().hex[:8]}" for _ in points]
    order = [word for name, point in zip(made, points, strict=True) for word in (name, str(point))]
    command = [sys.executable, "-c", KILLED, *order]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "platform_site.settings"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made, done.stdout


@pytest.fixture(scope="module")
def statements(_database) -> int:
    """How many statements one run of the command sends."""
    return int(killed([0])[1])


def create(name: str) -> dict:
    out = io.StringIO()
    call_command("create_tenant", name, vertical="healthcare", plan="pro", json=True, stdout=out)
    return json.loads(out.getvalue())


def status_of(name: str, path: str = "/chat/") -> int:
    return Client(headers={"host": names.host_for(name)}).get(path).status_code


def is_whole(name: str) -> bool:
    """Each thing of a new tenant is there once."""
    with acting_for_platform("a test"):
        tenant = Tenant.objects.select_related("database").get(name=name)
        hosts, made = (
            Domain.objects.filter(tenant=tenant),
            AuditEvent.objects.filter(tenant=tenant, action="tenant.created"),
        )
        assert (hosts.count(), made.count(), tenant.state) == (1, 1, "active")
        with connections["platform"].cursor() as cursor:
            cursor.execute("select count(*) from pg_namespace where nspname = %s", [tenant.schema_name])
            assert cursor.fetchone() == (1,)
    with acting_for(tenant.ref()):
        assert AgentVersion.objects.count() == Branding.objects.count() == Subscription.objects.count() == 1
    return True


def test_r15_provisioning_killed_at_any_statement_is_absent_until_the_next_run_makes_it_whole(statements):
    every = range(1, statements)  # after the last one the run is over
    points = [sign * n for n in (every if FULL else every[:: statements // 5]) for sign in (1, -1)] + [-statements]
    for name, point in zip(killed(points)[0], points, strict=True):
        with acting_for_platform("a test"):
            reached = Tenant.objects.filter(name=name).values_list("state", flat=True).first()
        assert (status_of(name) == 200) is (reached == "active"), point
        invitation = create(name)["invitation"]
        assert is_whole(name) and status_of(name) == 200, point
        assert status_of(name, "/" + invitation.split("/", 3)[3]) == 200, point
        with pytest.raises(CommandError, match="exists already"):
            create(name)


def test_r15_killed_between_the_tenant_and_its_invitation_the_next_run_invites(statements):
    name = f"killed-{uuid4().hex[:8]}"
    provisioning.create(name=name, vertical="healthcare", plan="pro", by="manage.py create_tenant")
    first, second = (_invited(name) for _ in range(2))
    assert (status_of(name, first), status_of(name, second)) == (404, 200)
    create(name)
    with pytest.raises(CommandError, match="exists already"):
        create(name)


def _invited(name: str) -> str:
    """As the command does before it is killed; the path of the link."""
    with acting_for_platform("a test"):
        tenant = first_owner.awaited(name, by="manage.py create_tenant")
    return "/" + first_owner.invite(tenant, email="owner@a.example").link.split("/", 3)[3]


def test_a_tenant_that_somebody_else_made_is_not_invited_to_by_its_name(acme):
    with pytest.raises(CommandError, match="exists already"):
        create(acme.name)
