"""Databases as places: a dedicated one is its tenant's alone, and is usable at once."""

import asyncio
import io
import json
import random
from threading import Timer
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections
from django.test import Client
from django.utils import timezone

from agents.conversations.models import EndUser
from metering import attention
from platform_site import tasks as clock_tasks
from platform_site.errors import Conflict
from tenants import (
    crypto,
    databases,
    directory,
    openings,
    operator_letters,
    placements,
    provisioning,
    room,
    servers,
    store,
)
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform, run_for
from tenants.errors import TenantUnavailable
from tenants.ids import uuid7
from tenants.keys import system_key
from tenants.models import Database, Move, Tenant
from tests.conftest import host_of
from tests.tenants.moving import spelled_differently
from tests.threads import Threads


@pytest.fixture
def lonely():
    """A tenant in a dedicated database."""
    name = f"lonely-{uuid4().hex[:8]}"
    yield provisioning.create(
        name=name, slug=name, vertical="healthcare", plan="pro", dedicated=True, by="a test"
    ).ref()
    remove(name)


def remove(name: str) -> None:
    """The tenant's row and its database."""
    for connection in connections.all(initialized_only=True):
        connection.close()
    with acting_for_platform("a test"):
        row = Tenant.objects.select_related("database").get(slug=name)
        shared = Database.objects.get(name="shared_1")
        Tenant.objects.filter(pk=row.pk).update(database=shared, state=Tenant.State.PROVISIONING)
        openings.drop_dedicated(row.database, by="a test")


def row_of(tenant) -> Database:
    """The database where it lives."""
    with acting_for_platform("a test"):
        return Tenant.objects.select_related("database").get(pk=tenant.id).database


def databases_and_roles(database: Database) -> tuple[int, int]:
    """How many the server has that belong to this row."""
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute("select count(*) from pg_database where datname = %s", [database.database_name])
        (found,) = cursor.fetchone()
        cursor.execute(
            "select count(*) from pg_roles where rolname ~ %s", [rf"^{settings.INSTALL}_d{database.pk}_(login|t_\d+)$"]
        )
        return found, cursor.fetchone()[0]


def test_a_tenant_in_a_dedicated_database_works_and_is_gone_when_it_is_dropped(lonely):
    assert lonely.alias.startswith("dedicated_")
    assert Client(headers={"host": host_of(lonely)}).get("/chat/").status_code == 200
    with acting_for(lonely):
        EndUser.objects.create(secret_hash="there")
        with connections[lonely.alias].cursor() as cursor:
            cursor.execute("select current_database(), session_user, current_user")
            seen = cursor.fetchone()
    row = row_of(lonely)
    assert seen == (row.database_name, row.login_role, lonely.role)
    assert databases_and_roles(row) == (1, 2)


def test_a15_nobody_else_may_connect_to_a_dedicated_database(lonely, acme):
    place, own = row_of(lonely), row_of(acme)
    for login in ("default", "platform"):
        ours = connections[login].settings_dict
        parts = psycopg.conninfo.conninfo_to_dict(databases.address(place))
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(**parts | {"user": ours["USER"], "password": ours["PASSWORD"]})
    parts = psycopg.conninfo.conninfo_to_dict(databases.address(own))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(**parts | {"user": place.login_role, "password": databases.password(place)})


async def test_a10_shared_and_dedicated_interleaved_no_read_is_wrong(lonely, acme):
    shared, tenants = uuid7(), [lonely, acme]
    for tenant in tenants:
        await run_for(tenant, EndUser.objects.create, id=shared, secret_hash=f"of {tenant.id}")
    order = [random.choice(tenants) for _ in range(300)]
    found = await asyncio.gather(*(run_for(tenant, lambda: EndUser.objects.get(pk=shared)) for tenant in order))
    assert [one.secret_hash for one in found] == [f"of {tenant.id}" for tenant in order]


def test_a_dedicated_database_holds_one_tenant_and_keeps_its_kind(lonely, acme):
    place = row_of(lonely)
    with acting_for_platform("a test"):
        with pytest.raises(IntegrityError, match="exactly one tenant"):
            Tenant.objects.filter(pk=acme.id).update(database=place)
        with pytest.raises(IntegrityError, match="never changes"):
            Database.objects.filter(pk=place.pk).update(kind="shared")
        with pytest.raises(Conflict):
            openings.drop_dedicated(place, by="a test")
    with pytest.raises(Conflict):
        provisioning.create(name=f"n{uuid4().hex}", vertical="healthcare", plan="pro", database=place.name, by="a test")


def test_a_new_password_is_a_new_alias_and_the_tenant_works_on(lonely):
    with acting_for_platform("a test"):
        openings.change_password(row_of(lonely))
    directory.forget()
    fresh = directory.by_id(lonely.id)
    assert fresh.alias != lonely.alias
    with acting_for(fresh):
        assert EndUser.objects.count() == 0


def test_a_stored_password_opens_in_its_own_row_only(lonely):
    place = row_of(lonely)
    assert databases.password(place).encode() not in bytes(place.sealed_password)
    place.pk += 1
    with pytest.raises(crypto.Unreadable):
        databases.password(place)


@pytest.mark.parametrize("reached", ["row", "login", "database"])
def test_r15_a_killed_opening_is_finished_by_the_next_run(reached):
    purpose = f"killed-{uuid4().hex[:8]}"
    with acting_for_platform("a test"):
        row = openings._new_row(Database.Kind.DEDICATED, purpose)
        with servers.connected() as server:
            if reached != "row":
                openings._ensure_login(server, row.login_role, "other")
            if reached == "database":
                server.execute(f"create database {row.database_name} allow_connections false")
        opened = openings.open_dedicated(reserved_for=purpose, by="a test")
        assert (opened.pk, opened.state) == (row.pk, "open")
        assert placements.check(opened)["faults"] == []
        openings.drop_dedicated(opened, by="a test")
        assert databases_and_roles(row) == (0, 0)
        assert not Database.objects.filter(pk=row.pk).exists()


def test_a_killed_drop_is_finished_by_the_next_one():
    with acting_for_platform("a test"):
        row = openings.open_dedicated(reserved_for=f"drop-{uuid4().hex[:8]}", by="a test")
        with servers.connected() as server:
            server.execute(f"drop database {row.database_name}")
        openings.drop_dedicated(row, by="a test")
    assert databases_and_roles(row) == (0, 0)


def test_a_drop_waits_for_whom_it_may_not_send_away():
    """As an automatic vacuum is no role's, the run time's session is none that the provisioning login may end."""
    with acting_for_platform("a test"):
        row = openings.open_dedicated(reserved_for=uuid4().hex, by="a test")
        ours = psycopg.conninfo.conninfo_to_dict(settings.DATABASE_URL)
        with servers.connected() as server:
            server.execute(f"grant connect on database {row.database_name} to {ours['user']}")
        there = psycopg.connect(**ours | {"dbname": row.database_name})
        leaving = Timer(0.3, there.close)
        leaving.start()
        openings.drop_dedicated(row, by="a test")
        leaving.join()
    assert databases_and_roles(row) == (0, 0)


def test_where_all_are_full_the_next_is_opened_and_used_at_once(make_tenant):
    with acting_for_platform("a test"):
        others = list(Database.objects.filter(state="open").values_list("pk", flat=True))
        Database.objects.filter(pk__in=others).update(state="full")
    try:
        tenant = make_tenant("acme")
        with acting_for(tenant):
            assert EndUser.objects.count() == 0
        with acting_for_platform("a test"):
            place = Tenant.objects.select_related("database").get(pk=tenant.id).database
        assert place.pk not in others and (place.kind, place.state, place.room) == ("shared", "open", 500)
    finally:
        with acting_for_platform("a test"):
            Database.objects.filter(pk__in=others).update(state="open")


def test_a_full_or_draining_shared_database_takes_nobody():
    with acting_for_platform("a test"):
        before = room.with_room()
        Database.objects.filter(pk=before.pk).update(capacity_tenants=0)
        try:
            with pytest.raises(Conflict):
                placements.for_new_tenant(before.name)
        finally:
            Database.objects.filter(pk=before.pk).update(capacity_tenants=500)


@pytest.fixture
def all_full():
    """Every shared database takes nobody; what a test opens is dropped after it."""
    with acting_for_platform("a test"):
        before = set(Database.objects.values_list("pk", flat=True))
        were_open = list(Database.objects.filter(state="open", kind="shared").values_list("pk", flat=True))
        Database.objects.filter(pk__in=were_open).update(state="full")
    yield before
    with acting_for_platform("a test"), servers.connected() as server:
        Database.objects.filter(pk__in=were_open).update(state="open")
        for row in Database.objects.exclude(pk__in=before):
            server.execute(f"drop database if exists {row.database_name}")
            server.execute(f"drop role if exists {row.login_role}")
            row.delete()


def opened_since(before: set[int]) -> list[Database]:
    """The databases that are new."""
    with acting_for_platform("a test"):
        return list(Database.objects.exclude(pk__in=before))


def test_a_shared_database_is_filling_from_four_hundred_tenants_or_four_fifths_of_its_bytes():
    def full(living: int, **fields) -> bool:
        row = Database(kind="shared", **fields)
        row.living = living
        return room.percent_full(row) >= room.FILLING_PERCENT

    assert (full(399), full(400)) == (False, True)
    assert (full(8, capacity_tenants=10), full(7, capacity_tenants=10)) == (True, False)
    assert full(1, capacity_bytes=100, used_bytes=80) and not full(1, capacity_bytes=100, used_bytes=79)


def test_two_clocks_at_once_open_one_more_database_and_then_none(all_full):
    def keep(_) -> Database | None:
        with acting_for_platform("a test"):
            return room.keep(by="a test")

    with Threads(4) as threads:
        results = list(threads.map(keep, range(4)))
    (opened,) = opened_since(all_full)
    assert [one.pk for one in results if one] == [opened.pk]
    assert (opened.kind, opened.state) == ("shared", "open")
    assert keep(0) is None and len(opened_since(all_full)) == 1


def test_a_clock_that_was_killed_while_it_opened_one_is_followed_by_one_that_finishes_it(all_full):
    with acting_for_platform("a test"):
        left = openings._new_row(Database.Kind.SHARED, "", openings.beside())
        assert room.keep(by="a test").pk == left.pk
    assert [one.state for one in opened_since(all_full)] == ["open"]


def test_where_no_server_may_take_another_the_log_warns_and_operators_are_told(all_full, caplog, settings):
    with acting_for_platform("a test"):
        allowed = list(Database.objects.filter(may_create=True).values_list("pk", flat=True))
        Database.objects.filter(pk__in=allowed).update(may_create=False)
        try:
            assert room.keep(by="a test") is None
            (warning,) = [record for record in caplog.records if getattr(record, "code", "") == "no_next_database"]
            assert warning.levelname == "WARNING"
            (notice,) = [one for one in attention.notices() if one.subject == "Databases"]
            assert "no server is marked" in notice.text
            with pytest.raises(TenantUnavailable):
                room.with_room()
            settings.OPERATOR_EMAILS = ["olive@atrium.example"]
            store.client().delete(system_key("letter", "room"))
            mail.outbox.clear()
            for _ in range(2):
                clock_tasks.keep_room()
            (letter,) = mail.outbox  # once a day
            assert letter.to == ["olive@atrium.example"] and "manage.py database add" in letter.body
            settings.OPERATOR_EMAILS = []
            operator = User.objects.create_superuser(f"{uuid4().hex}@atrium.example")
            store.client().delete(system_key("letter", "room"))
            assert operator_letters.tell_of_room()
            assert mail.outbox[1:] and operator.email in [to for letter in mail.outbox for to in letter.to]
        finally:
            Database.objects.filter(pk__in=allowed).update(may_create=True)
    assert opened_since(all_full) == []


def test_a_database_that_holds_all_its_bytes_takes_nobody(all_full):
    with acting_for_platform("a test"):
        shared = Database.objects.get(name="shared_1")
        try:
            placements.set_limits(shared, capacity_bytes=1)
            Database.objects.filter(pk=shared.pk).update(state="open")
            assert room.measure()[shared.pk] > 1_000_000
            assert room.with_room().pk != shared.pk
            with pytest.raises(Conflict, match="full"):
                placements.for_new_tenant("shared_1")
        finally:
            placements.set_limits(shared, capacity_bytes=None)


def test_a_new_database_is_opened_on_the_server_and_in_the_region_that_an_operator_marked(all_full):
    with acting_for_platform("a test"):
        near = openings.beside()
        near.region = "eu-north"  # not stored: others use this row
        row = openings.open_shared(by="a test", near=near)
        assert (row.host, str(row.port)) == databases.server_of(near) and row.region == "eu-north"


def test_on_another_server_one_is_opened_beside_a_known_one_used_and_dropped(all_full, monkeypatch):
    """The same server by another name: for us it is another."""
    address = spelled_differently(settings.DATABASE_URL)
    there = psycopg.conninfo.conninfo_to_dict(address)["host"]
    monkeypatch.setenv("OTHER_DATABASE_URL", address)
    with acting_for_platform("a test"):
        known = Database.objects.create(name="other-server", url_variable="OTHER_DATABASE_URL", state="full")
        try:
            placements.set_limits(known, may_create=True, region="eu-north")
            Database.objects.exclude(pk=known.pk).update(may_create=False)
            opened = room.keep(by="a test")
            assert (opened.host, opened.region) == (there, "eu-north") and not databases.is_on_our_server(opened)
            own = openings.open_dedicated(reserved_for=uuid4().hex, by="a test")
            assert own.host == there and placements.check(own)["faults"] == []
            assert set(room.measure()) >= {opened.pk, own.pk}
            openings.drop_dedicated(own, by="a test")
            assert databases_and_roles(own) == (0, 0)
        finally:
            Database.objects.filter(name="shared_1").update(may_create=True)
            known.delete()


@pytest.fixture
def left(acme):
    """A dedicated database that acme has left, and the move that keeps its old copy there."""
    with acting_for_platform("a test"):
        own = openings.open_dedicated(reserved_for=uuid4().hex, by="a test")
        home = Tenant.objects.get(pk=acme.id).database
        move = Move.objects.create(
            tenant_id=acme.id, source=own, target=home, state="retained", retained_until=timezone.now(), ordered_by="me"
        )
        yield move
        move.delete()
        openings.drop_dedicated(own, by="a test")


@pytest.mark.parametrize("state", ["retained", "copying"])
def test_a_database_that_a_move_needs_is_not_dropped(left, state):
    with acting_for_platform("a test"):
        Move.objects.filter(pk=left.pk).update(state=state)
    with pytest.raises(CommandError, match=left.tenant.name):
        call_command("database", "drop", left.source.name)
    assert databases_and_roles(left.source) == (1, 1)


def test_a_dedicated_database_that_stands_empty_takes_nobody_else(left, globex):
    for command in (["move_tenant", globex.slug, "--to"], ["create_tenant", "New", "--vertical=healthcare",
                    "--plan=pro", "--database"]):  # fmt: skip
        with pytest.raises(CommandError, match="for one tenant alone"):
            call_command(*command, left.source.name)


@pytest.fixture
def by_another_name(monkeypatch) -> str:
    """The variable that holds the address of our own database, spelled differently."""
    monkeypatch.setenv("TWIN_URL", spelled_differently(settings.DATABASE_URL))
    return "TWIN_URL"


def test_one_database_is_not_added_twice_however_its_address_is_spelled(by_another_name):
    with pytest.raises(CommandError, match="“shared_1” by another address"):
        call_command("database", "add", "--name", "twin", "--url-variable", by_another_name)


def test_a_variable_that_holds_no_address_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("ODD_URL", "a secret of another kind")
    with pytest.raises(CommandError, match="ODD_URL") as refused:
        call_command("database", "add", "--name", "odd", "--url-variable", "ODD_URL")
    assert "secret" not in str(refused.value)


def test_a_database_without_an_address_here_stops_its_tenant_alone(acme, globex):
    with acting_for_platform("a test"):
        lost = Database.objects.create(name="lost", url_variable="NOT_SET_HERE", state="full")
        home = Tenant.objects.get(pk=acme.id).database
        Tenant.objects.filter(pk=acme.id).update(database=lost)
        directory.forget()
        try:
            ids = {ref.id for ref in directory.all_active()}
            assert globex.id in ids and acme.id not in ids
            answer = Client(headers={"host": host_of(acme)}, raise_request_exception=False).get("/chat/")
            assert (answer.status_code, b"NOT_SET_HERE" in answer.content) == (503, False)
            with pytest.raises(CommandError, match="NOT_SET_HERE"):
                call_command("move_tenant", acme.slug, "--to-dedicated")
        finally:
            Tenant.objects.filter(pk=acme.id).update(database=home)
            lost.delete()
            directory.forget()


def test_limits_that_cannot_be_are_refused_before_a_database_is_opened():
    with acting_for_platform("a test"):
        before = Database.objects.count()
        for wrong in (["--capacity-tenants", "501"], ["--capacity-bytes=-1"], ["--region", "x" * 41]):
            with pytest.raises(CommandError):
                call_command("database", "add", "--shared", *wrong)
        assert Database.objects.count() == before


@pytest.fixture
def away(monkeypatch):
    """A known database whose server does not answer."""
    monkeypatch.setenv("AWAY_URL", psycopg.conninfo.make_conninfo(settings.DATABASE_URL, port=9))
    with acting_for_platform("a test"):
        row = Database.objects.create(name="away", url_variable="AWAY_URL", state="full")
        yield row
        row.delete()


def test_a_server_that_is_away_keeps_no_database_from_being_opened_elsewhere(all_full, away):
    with acting_for_platform("a test"):
        with pytest.raises(psycopg.OperationalError):
            openings.open_shared(by="a test", near=away)
        assert not Database.objects.filter(state="opening").exists()
        openings._new_row(Database.Kind.SHARED, "", away)  # left by a run that was killed before it went away
        assert room.keep(by="a test").state == "open"
        Database.objects.filter(state="opening").delete()


def test_a_password_that_cannot_be_changed_stays_known(away):
    with acting_for_platform("a test"):
        row = openings._new_row(Database.Kind.DEDICATED, "nobody", away)
        with pytest.raises(psycopg.OperationalError):
            openings.change_password(row)
        kept = Database.objects.get(pk=row.pk)
        row.delete()
    assert (kept.epoch, bytes(kept.sealed_password)) == (1, bytes(row.sealed_password))


def test_limits_are_set_by_command_and_refused_where_they_cannot_be(lonely):
    name, out = row_of(lonely).name, io.StringIO()
    call_command("database", "set", name, "--region", "eu-west", "--capacity-bytes", "2000000000", stdout=out)
    call_command("database", "list", "--json", stdout=out)
    (shown,) = [one for one in json.loads(out.getvalue().splitlines()[-1]) if one["name"] == name]
    assert (shown["region"], shown["capacity_bytes"], shown["tenants"]) == ("eu-west", 2_000_000_000, 1)
    assert shown["bytes"] > 1_000_000
    for wrong in (["--may-create", "yes"], ["--capacity-tenants", "501"]):
        with pytest.raises(CommandError):
            call_command("database", "set", name, *wrong)


def test_the_command_lists_checks_and_refuses(lonely):
    name, out = row_of(lonely).name, io.StringIO()
    call_command("database", "list", stdout=out)
    call_command("database", "check", name, stdout=out)
    assert name in out.getvalue() and "answers: 1 tenants" in out.getvalue()
    call_command("database", "drain", name, stdout=out)
    assert lonely.slug in out.getvalue() and row_of(lonely).state == "draining"
    call_command("database", "reopen", name, stdout=out)
    assert row_of(lonely).state == "open"
    for wrong in (["check", "nowhere"], ["drop", name], ["add"], ["drop", "shared_1"]):
        with pytest.raises(CommandError):
            call_command("database", *wrong)
