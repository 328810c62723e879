"""Bringing all tenants up to a release: what is skipped, what is tried again, what is reported."""

import json
import subprocess
import sys
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from threading import Timer

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from psycopg import sql

from agents.conversations.models import EndUser
from metering.models import Subscription
from platform_site.errors import NotFound
from tenants import databases, fleet, names, schema_template, servers
from tenants.context import act_for, acting_for, acting_for_platform
from tenants.models import Database, Domain, Tenant
from tests.conftest import until
from tests.tenants.moving import home_of
from tests.threads import Threads

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fleet_of(make_tenant):
    """``fleet_of("a", "b")``: new tenants; all others of the database are current."""

    def make(*words):
        with acting_for_platform("a test"):
            Tenant.objects.exclude(state=Tenant.State.PROVISIONING).update(schema_level=schema_template.fingerprint())
        return [make_tenant(name) for name in words]

    yield make
    with acting_for_platform("a test"):  # those that were broken on purpose would fail in every later run
        Tenant.objects.exclude(state=Tenant.State.PROVISIONING).update(schema_level=schema_template.fingerprint())


def set_back(*refs) -> None:
    """Let these be of an older release, as far as their rows say."""
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk__in=[ref.id for ref in refs]).update(schema_level="older")


def level_of(ref) -> str:
    with acting_for_platform("a test"):
        return Tenant.objects.get(pk=ref.id).schema_level


def execute(ref, statement: str) -> None:
    """As the tenant's role, in its schema."""
    with acting_for_platform("a test"):
        connection = connections[databases.PROVISION]
        with connection.pinned(ref.schema, ref.role), connection.cursor() as cursor:
            cursor.execute(statement)


def break_down(ref) -> None:
    """The next migration meets a table that it would make."""
    execute(ref, "delete from django_migrations where app = 'outbox'")


def migrate(**options) -> dict:
    """The command's JSON, whether it ended well or not."""
    out = StringIO()
    failed = ""
    try:
        call_command("migrate_fleet", json=True, stdout=out, **options)
    except CommandError as error:
        failed = str(error)
    return json.loads(out.getvalue()) | {"ended": failed}


def test_only_those_behind_are_migrated_and_their_rows_say_so(fleet_of):
    one, two, three = fleet_of("one", "two", "three")
    set_back(one, two)
    result = migrate()
    assert sorted(result["migrated"]) == sorted([one.slug, two.slug]) and result["ended"] == ""
    assert level_of(one) == level_of(two) == level_of(three) == schema_template.fingerprint()
    assert migrate()["migrated"] == []


def test_a_current_fleet_costs_two_queries_however_many_tenants_it_has(fleet_of):
    fleet_of("one", "two", "three")
    with acting_for_platform("a test"), CaptureQueriesContext(connections["platform"]) as asked:
        fleet.migrate()
    assert len([query for query in asked if "set_config" not in query["sql"]]) <= 3


def test_r14_a_failing_tenant_is_reported_and_stops_nobody_and_the_next_run_goes_on(fleet_of):
    bad, good, other = fleet_of("bad", "good", "other")
    break_down(bad)
    set_back(bad, good, other)
    result = migrate()
    assert sorted(result["migrated"]) == sorted([good.slug, other.slug])
    assert [one["tenant"] for one in result["failed"]] == [bad.slug]
    assert "already exists" in result["failed"][0]["error"] and "\n" not in result["failed"][0]["error"]
    assert bad.slug in result["ended"]
    execute(bad, "drop table outbox_usageevent cascade")
    again = migrate()
    assert again["migrated"] == [bad.slug] and again["ended"] == ""


def test_real_changes_of_many_tenants_at_once_give_each_its_own_tables(fleet_of):
    refs = fleet_of(*"abcdef")
    for ref in refs:
        break_down(ref)
        execute(ref, "drop table outbox_usageevent cascade")
    set_back(*refs)
    assert sorted(migrate(workers=6)["migrated"]) == sorted(ref.slug for ref in refs)
    for ref in refs:
        execute(ref, f"select count(*) from {ref.schema}.outbox_usageevent")


def test_canaries_go_first_and_one_that_fails_stops_the_run(fleet_of):
    bad, good, canary = fleet_of("bad", "good", "canary")
    break_down(bad)
    set_back(bad, good, canary)
    result = migrate(canary=[canary.slug, bad.slug])
    assert result["migrated"] == [canary.slug] and result["stopped"]
    assert level_of(good) == "older"


def test_an_unknown_canary_is_refused_before_anything_is_done(fleet_of):
    (one,) = fleet_of("one")
    set_back(one)
    with acting_for_platform("a test"), pytest.raises(NotFound):
        fleet.migrate(canaries=["nobody-here"])
    assert level_of(one) == "older"


def test_a_lock_that_is_held_for_a_while_is_waited_for_in_short_attempts(fleet_of):
    (one,) = fleet_of("one")
    set_back(one)
    with _holding(one) as holder:
        Timer(fleet.LOCK_TIMEOUT_MS / 1000 + 0.3, holder.rollback).start()
        result = migrate()
        assert result["migrated"] == [one.slug]
        assert result["seconds"] > fleet.LOCK_TIMEOUT_MS / 1000


def test_r14_a_run_killed_in_the_middle_of_a_tenant_is_finished_by_the_next(fleet_of):
    one, two, three = refs = fleet_of("one", "two", "three")
    for ref in refs:
        break_down(ref)
        execute(ref, "drop table outbox_usageevent cascade")
    set_back(*refs)
    with _holding(two, mode="share"):  # its first migration has run when it cannot be recorded
        process = subprocess.Popen([sys.executable, "manage.py", "migrate_fleet", "--workers", "1"], cwd=ROOT)
        until(lambda: _waits_for_a_lock(two), seconds=60)
        process.kill()
        process.wait()
    assert [level_of(ref) == schema_template.fingerprint() for ref in refs] == [True, False, False]
    for ref in refs:  # usable all the while
        with acting_for(ref):
            assert EndUser.objects.count() == 0
    until(lambda: not _waits_for_a_lock(two))  # the server notices by the end of the lock's time
    assert migrate(workers=1)["migrated"] == [two.slug, three.slug]
    for ref in refs:
        execute(ref, f"select count(*) from {ref.schema}.outbox_usageevent")


def _waits_for_a_lock(ref) -> bool:
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_locks l join pg_class c on c.oid = l.relation"
            " where not l.granted and c.relnamespace = %s::regnamespace", [ref.schema]
        )  # fmt: skip
        return cursor.fetchone()[0] > 0


@contextmanager
def _holding(ref, mode="access exclusive"):
    """A connection that has the tenant's record of migrations locked."""
    with acting_for_platform("a test"):
        address = databases.provision_address(Tenant.objects.select_related("database").get(pk=ref.id).database)
    with psycopg.connect(address) as holder:
        holder.execute(sql.SQL("set role {}").format(sql.Identifier(ref.role)))
        table = sql.Identifier(ref.schema, "django_migrations")
        holder.execute(sql.SQL("lock table {} in {} mode").format(table, sql.SQL(mode)))
        yield holder


def test_two_runs_at_once_do_each_tenant_once(fleet_of):
    one, two = fleet_of("one", "two")
    for ref in (one, two):
        break_down(ref)
        execute(ref, "drop table outbox_usageevent cascade")
    set_back(one, two)
    with Threads(2) as threads:
        runs = list(threads.map(lambda _: _run(), range(2)))
    assert [run.failed for run in runs] == [[], []]
    assert level_of(one) == level_of(two) == schema_template.fingerprint()


def _run():
    with acting_for_platform("a test"):
        return fleet.migrate()


def test_the_plan_names_who_is_behind_and_changes_nothing(fleet_of):
    one, two = fleet_of("one", "two")
    set_back(one)
    out = StringIO()
    call_command("migrate_fleet", plan=True, json=True, stdout=out)
    assert [waiting["tenant"] for waiting in json.loads(out.getvalue())["behind"]] == [one.slug]
    assert level_of(one) == "older"


def test_deploy_ends_with_an_error_that_names_the_tenant_that_failed(fleet_of):
    (bad,) = fleet_of("bad")
    break_down(bad)
    set_back(bad)
    with pytest.raises(CommandError, match=bad.slug):
        call_command("deploy", stdout=StringIO())


def test_deploys_at_once_wait_for_each_other_and_rows_stay_readable_meanwhile(acme):
    """Where several machines are brought up to a release together, under traffic."""

    def read():
        counts = set()
        while not all(deploy.done() for deploy in deploys):
            counts.add(act_for(acme, Subscription.objects.count))  # one of the tables whose rights are made anew
        return counts

    outs = [StringIO() for _ in range(3)]
    with Threads(4) as threads:
        with acting_for_platform("a test"), servers.alone("deploy"):
            deploys = [threads.submit(call_command, "deploy", stdout=out) for out in outs]
            until(lambda: all("Another deploy is running" in out.getvalue() for out in outs))
        assert threads.submit(read).result() == {1}
    assert [deploy.result() for deploy in deploys] == [None] * 3


def test_the_list_tells_state_plan_place_size_and_level_in_one_round_trip_per_database(fleet_of):
    one, two = fleet_of("one", "two")
    set_back(two)
    own = f"chat-{one.slug}.example.com"
    with acting_for_platform("a test"):
        Domain.objects.bulk_create([Domain(domain=own, tenant_id=two.id, verified_at=timezone.now(), is_primary=False)])
    out = StringIO()
    with acting_for_platform("a test"), CaptureQueriesContext(connections[databases.PROVISION]) as asked:
        call_command("tenants", json=True, stdout=out)
    found = {row["slug"]: row for row in json.loads(out.getvalue())}
    assert found[one.slug] | {"bytes": 0, "name": ""} == {
        "slug": one.slug, "name": "", "state": "active", "plan": "pro", "database": str(home_of(one)),
        "kind": "shared",
        "bytes": 0, "days": 0, "current": True, "domain": names.host_for(one.slug), "other_domains": 0,
    }  # fmt: skip
    assert found[one.slug]["bytes"] > 100_000 and found[two.slug]["current"] is False
    with acting_for_platform("a test"):
        lived_in = Database.objects.filter(tenants__isnull=False).distinct()
        here = [one for one in lived_in if databases.ensure_provision_alias(one) == databases.PROVISION]
    assert len([query for query in asked if "pg_total_relation_size" in query["sql"]]) == len(here)
    shown = StringIO()
    call_command("tenants", stdout=shown)
    assert two.slug in shown.getvalue() and f"behind   {names.host_for(two.slug)} and 1 more" in shown.getvalue()
