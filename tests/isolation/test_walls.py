"""Threat cases of single walls, tried between customers: a shared and a dedicated stranger, rows of equal keys."""

import re
from uuid import uuid4

import pytest
from celery import current_app
from django.conf import settings
from django.db import connections
from django.test import Client
from django.utils import timezone, translation

from agents.conversations.models import EndUser
from tenants import provisioning, registry, store
from tenants.accounts import invitations, keys
from tenants.accounts.models import Invitation, User
from tenants.context import acting_for, acting_for_platform, current_or_none
from tenants.errors import TenantMismatch
from tenants.ids import uuid7
from tenants.isolation import attempts, catalogue, messages, schemas, shared_rows, stores
from tenants.models import Tenant
from tenants.tasks import HEADER, TenantTask
from tests.conftest import host_of, repeats
from tests.isolation.callers import caller, comparable
from tests.isolation.matrix import fill, routes
from tests.knowledge.ingesting import found, read_here, unheard_of

LOGOUT = "accounts/logout/"
TIMES = re.compile(rb"<time.*?</time>", re.DOTALL)


@pytest.mark.parametrize("by, against", [("A", "B"), ("A", "D"), ("D", "A")])
def test_a7_a13_a16_a17_what_the_isolation_check_tries_is_refused_between_customers(world, by, against):
    """Channels, Valkey, cache, files, vectors, rows and SQL, from one who lives beside and one who lives apart."""
    known = dict(zip("ABD", (world.home, *world.strangers), strict=True))
    own, other = known[by].tenant, known[against].tenant
    sources = (schemas, shared_rows, stores, messages, catalogue)
    with acting_for_platform("a test"):
        tries = [one for source in sources for one in source.tries(own, other)]
        tries += [one for prober in registry.probers().values() for one in prober(own, other)]
        made = [attempts.run(one, own, other) for one in tries]
    assert [attempt for attempt in made if attempt.outcome != attempts.REFUSED] == []
    assert world.untouched()


def test_a8_one_process_with_warm_caches_shows_each_tenant_its_own(world):
    everybody = (world.home, *world.strangers)
    for path in ("/chat/", "/theme.css", "/icon.svg", "/accounts/login/"):
        bodies = {}
        for victim in (*everybody, *reversed(everybody)):
            response = Client(headers={"host": host_of(victim.tenant)}).get(path)
            body = comparable(b"".join(response) if response.streaming else response.content, {})
            others = [stranger.canary for stranger in everybody if stranger is not victim]
            assert response.status_code == 200 and not any(canary.encode() in body for canary in others)
            assert bodies.setdefault(victim.tenant.id, body) == body


class _Clumsy(TenantTask):
    """A task that changes what it can of its process, leaves a transaction open, and fails on request."""

    name = "tests.isolation.clumsy"

    def run(self, *, row: str, fails: bool) -> str:
        found = EndUser.objects.get(pk=row).secret_hash
        translation.activate("de")
        timezone.activate("Asia/Tokyo")
        if fails:
            connections[current_or_none().alias].set_autocommit(False)
            EndUser.objects.filter(pk=row).update(secret_hash="spoiled")
            raise ValueError
        return found


@pytest.fixture
def language_and_zone_of_before():
    """Given back to the tests that follow."""
    with translation.override(translation.get_language()), timezone.override(timezone.get_current_timezone()):
        yield


@pytest.mark.usefixtures("language_and_zone_of_before")
def test_a12_a_task_that_failed_midway_leaves_the_next_one_its_own_tenant(acme, globex):
    row = uuid7()
    for tenant in (acme, globex):
        with acting_for(tenant):
            EndUser.objects.create(id=row, secret_hash=tenant.slug)
    task = _Clumsy()
    task.bind(current_app._get_current_object())
    for number in range(repeats(5_000)):
        tenant, fails = (acme, globex)[number % 2], number % 3 == 0
        task.push_request(**{HEADER: tenant.id})
        try:
            assert task(row=str(row), fails=fails) == tenant.slug
        except ValueError:
            assert fails
        finally:
            task.pop_request()
            if fails:
                connections.close_all()  # as Celery does after each task
        assert current_or_none() is None


def test_a14_the_same_question_is_answered_from_the_own_documents(acme, globex):
    question = "When do the doors open?"
    for tenant in (acme, globex):
        read_here(tenant, unheard_of(tenant, f"# Doors\n\nThe doors of {tenant.slug} open at nine.", "doors.md"))
    for tenant in (acme, globex, acme):
        passages = found(tenant, question)
        assert passages and all(tenant.slug in passage.text for passage in passages)


def test_a15_a_tenant_with_a_database_of_its_own_is_nowhere_else(world):
    tenant = world.strangers[1].tenant
    with acting_for_platform("a test"), connections["provision"].cursor() as cursor:
        cursor.execute("select count(*) from pg_namespace where nspname ~ %s", [f"^{tenant.schema}(_.*)?$"])
        assert cursor.fetchone() == (0,)
    with acting_for(tenant), pytest.raises(TenantMismatch):
        EndUser.objects.using(world.home.tenant.alias).count()


def test_a18_a_stranger_full_of_rows_changes_nothing_that_others_see(acme, globex):
    """Pages, lists, counts and "already taken": the same before and after."""
    home = fill(acme)
    for principal in ("owner", "key"):  # from now on the pages know when they were here last
        caller(principal, home).get("/api/v1/documents/")
    before = _seen(home)
    stranger = fill(globex)
    assert _seen(home) == before
    with acting_for(acme):
        User.objects.create_user(f"{stranger.canary}@b.example", role="analyst")
        assert invitations.invite(email=f"guest-{stranger.canary}@b.example", role="analyst", by="a test")
        assert Invitation.objects.filter(email__startswith="guest-").count() == 2


def _seen(home) -> dict:
    seen = {}
    for principal in ("owner", "key"):
        client = caller(principal, home)
        for route in routes():
            if not route.parameters and route.pattern not in ("readyz", LOGOUT):
                response = client.get(f"/{route.pattern}")
                body = TIMES.sub(b"", comparable(response.content, {}))
                seen[principal, route.pattern] = response.status_code, body
    return seen


ABOVE_THEM = {"is_staff": True, "is_superuser": True, "role": "owner", "plan": "enterprise", "state": "closed",
              "tenant": 1, "tenant_id": 1, "schema": "public", "id": str(uuid4()), "created_at": "2001-01-01",
              "published": True, "added_by": "x", "path": "../x", "seq": 99}  # fmt: skip


def test_a20_fields_that_are_not_the_callers_to_set_are_not_set(acme):
    home = fill(acme)
    before = _protected(acme)
    for principal in ("responder", "analyst", "key"):
        client = caller(principal, home)
        for route in (route for route in routes() if route.pattern != LOGOUT):
            for method in ("post", "put", "patch"):
                getattr(client, method)(route.path(home.ids), ABOVE_THEM, content_type="application/json")
            client.post(route.path(home.ids), ABOVE_THEM)
    assert _protected(acme) == before


def _protected(tenant) -> tuple:
    with acting_for_platform("a test"):
        row = Tenant.objects.filter(pk=tenant.id).values().get()
    with acting_for(tenant):
        staff = User.objects.exclude(email__endswith="@a.example")
        people = list(staff.order_by("pk").values("pk", "email", "role", "is_staff", "is_superuser", "is_active"))
        raised = User.objects.filter(email__endswith="@a.example", is_staff=True).exists()
        roles = set(User.objects.filter(email__endswith="@a.example", role="owner").values_list("email", flat=True))
    return row, people, raised, roles


def test_a21_two_long_names_never_share_a_schema():
    long = "a" * 38
    made = [
        provisioning.create(name=f"{uuid4().hex} {long}{end}", slug=f"{long[:30]}{uuid4().hex[:8]}{end}",
                            vertical="healthcare", plan="pro", by="a test")
        for end in "xy"
    ]  # fmt: skip
    assert len({tenant.schema_name for tenant in made}) == len({tenant.role for tenant in made}) == 2
    assert all(tenant.schema_name == f"t_{tenant.pk}" for tenant in made)


def test_a5_a_key_names_its_tenant_and_is_refused_with_another_in_its_place(world):
    parts = world.home.key.split("_")
    for victim in world.strangers:
        forged = "_".join([parts[0], str(victim.tenant.id), *parts[2:]])
        for home in (world.home, victim):
            client = Client(headers={"host": host_of(home.tenant), "authorization": f"Bearer {forged}"})
            assert client.get("/api/v1/documents/").status_code == 401
    assert keys.KEY.fullmatch(world.home.key)


def test_a7_no_name_in_valkey_is_without_its_tenant(world):
    first = {name.decode().split(":")[0] for name in store.client().scan_iter(count=1_000)}
    of_celery = ("_kombu", "celery", "unacked")
    assert {name for name in first if not name.startswith(of_celery)} <= {"t", "sys", settings.INSTALL}
