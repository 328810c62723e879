"""Moves: every row arrives, nothing acknowledged is lost, and a kill at any step leaves one truth and no rest."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client

from agents.conversations.models import EndUser
from platform_site.errors import Conflict
from tenants import context, databases, directory, lifecycle, placements
from tenants.context import acting_for, acting_for_platform
from tenants.errors import CopyDiffers, NoLock
from tenants.models import Database, Move, Tenant
from tenants.moves import copying, orders, running
from tests.conftest import host_of, until

ROOT = Path(__file__).resolve().parents[2]
BEFORE_FENCE = running.STEPS[: running.STEPS.index("fencing") + 1]
KILLED = """
import os, sys, django
django.setup()
from tenants import lifecycle
from tenants.context import acting_for_platform
from tenants.moves import orders, running
reach = running.reach
def killed(move, state, step, **progress):
    reach(move, state, step, **progress)
    if step == sys.argv[2]:
        os._exit(9)
running.reach = killed
with acting_for_platform("a test"):
    running.run(orders.plan(lifecycle.named(sys.argv[1]), None, by="a test"))
"""


@pytest.fixture
def second():
    """Another shared database."""
    with acting_for_platform("a test"):
        known = Database.objects.filter(kind="shared", state="open").exclude(database_name="").first()
        return known or placements.open_shared(by="a test")


@pytest.fixture
def full(acme):
    """A tenant with some rows."""
    write(acme, 200)
    yield acme
    clear(acme)


def clear(tenant) -> None:
    """Back to the first database, so that tests leave no databases behind."""
    for connection in connections.all(initialized_only=True):
        connection.close()
    with acting_for_platform("a test"):
        row, home = lifecycle.named(tenant.slug), Database.objects.get(name="shared_1")
        if row.database != home:
            running.run(orders.plan(row, home, by="a test"))
        for move in Move.objects.filter(tenant=row, state="retained").select_related("tenant", "source", "target"):
            orders.finish(orders.find(move.pk.hex))


def write(tenant, number: int) -> list:
    """New rows; the ids of what was acknowledged."""
    with acting_for(tenant):
        return [row.pk for row in EndUser.objects.bulk_create(EndUser(secret_hash=uuid4().hex) for _ in range(number))]


def move_to(tenant, target=None) -> Move:
    """Order a move and carry it out."""
    with acting_for_platform("a test"):
        return running.run(orders.plan(lifecycle.named(tenant.slug), target, by="a test"))


def content(tenant) -> tuple:
    """Checks of all tables and values of all sequences where the tenant lives."""
    with acting_for_platform("a test"):
        row = lifecycle.named(tenant.slug)
        with psycopg.connect(databases.provision_address(row.database)) as connection:
            copying.enter(connection, row.schema_name, row.role)
            names = [name for (name,) in connection.execute(copying.SEQUENCES)]
            values = {
                name: connection.execute(f'select last_value, is_called from "{name}"').fetchone() for name in names
            }
            return copying.checks(connection, copying.tables(connection)), values


def traces(tenant) -> tuple[set, set]:
    """Where schemas of the tenant are, (database, is it the live one); and which roles it has."""
    with acting_for_platform("a test"):
        schemas = set()
        for database in Database.objects.all():
            with psycopg.connect(databases.provision_address(database)) as connection:
                found = connection.execute(
                    "select nspname from pg_namespace where nspname ~ %s", [f"^t_{tenant.id}(_m.*)?$"]
                ).fetchall()
                schemas |= {(database.database_name or "home", name == tenant.schema) for (name,) in found}
        with connections["platform"].cursor() as cursor:
            cursor.execute(
                "select rolname from pg_roles where rolname ~ %s", [f"^{settings.INSTALL}_d[0-9]+_t_{tenant.id}$"]
            )
            return schemas, {name for (name,) in cursor.fetchall()}


def opened_for_moves() -> set:
    """Databases on the server that were opened for a move and have no tenant."""
    with acting_for_platform("a test"):
        return set(
            Database.objects.filter(reserved_for__startswith="move ", tenants=None).values_list("name", flat=True)
        )


def test_promoted_and_taken_back_every_row_is_there(full):
    before, orphans = content(full), opened_for_moves()
    move = move_to(full)
    assert move.state == "retained" and move.target.kind == "dedicated"
    assert content(full) == before
    assert Client(headers={"host": host_of(full)}).get("/chat/").status_code == 200
    meanwhile = write(full, 3)  # with a ref from before the move
    after = content(full)
    with acting_for_platform("a test"):
        back = orders.go_back(orders.find(move.pk.hex[-12:]), by="a test")
        assert content(full) == after
        assert orders.find(move.pk.hex).state == "rolled_back"
        orders.finish(orders.find(back.pk.hex))
    with acting_for(full):
        assert EndUser.objects.filter(pk__in=meanwhile).count() == 3
    assert traces(full) == ({("home", True)}, {full.role})
    assert opened_for_moves() <= orphans


def test_rebalanced_and_finished_only_the_new_place_knows_the_tenant(full, second):
    before = content(full)
    move = move_to(full, second)
    assert content(full) == before
    with acting_for_platform("a test"):
        orders.finish(orders.find(move.pk.hex))
    schemas, roles = traces(full)
    assert schemas == {(second.database_name, True)}
    assert len(roles) == 1 and roles != {full.role}
    with acting_for(full):  # the ref of before: its role is gone
        assert EndUser.objects.count() == 200


def test_the_old_copy_stays_while_a_table_is_not_whole_at_the_new_place(full, second):
    move = move_to(full, second)
    with acting_for_platform("a test"):
        place = lifecycle.named(full.slug)
        with psycopg.connect(databases.provision_address(second)) as connection:
            copying.enter(connection, place.schema_name, place.role)
            connection.execute("alter table conversations_feedback rename column value to lost")
        with pytest.raises(Conflict, match="conversations_feedback"):
            orders.finish(orders.find(move.pk.hex))
        assert ("home", False) in traces(full)[0]
        with psycopg.connect(databases.provision_address(second)) as connection:
            copying.enter(connection, place.schema_name, place.role)
            connection.execute("alter table conversations_feedback rename column lost to value")
        orders.finish(orders.find(move.pk.hex))
    assert traces(full)[0] == {(second.database_name, True)}


def kill(tenant, step: str) -> Move:
    """Begin a move in a process that dies at this step."""
    command = [sys.executable, "-c", KILLED, tenant.slug, step]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "platform_site.settings"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    until(nobody_holds_a_lock)  # the server needs a moment to notice that its client has died
    with acting_for_platform("a test"):
        return Move.objects.select_related("tenant", "source", "target").get(tenant_id=tenant.id)


LOCKS = """
select count(*) from pg_locks where pid <> pg_backend_pid() and (locktype = 'advisory'
    or locktype = 'relation' and mode in ('ShareLock', 'ExclusiveLock', 'AccessExclusiveLock'))
"""


def nobody_holds_a_lock() -> bool:
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute(LOCKS)
        return cursor.fetchone()[0] == 0


@pytest.mark.parametrize("step", running.STEPS)
def test_r14_a_move_killed_at_any_step_goes_on(full, step):
    before = content(full) if step in BEFORE_FENCE else None
    move = kill(full, step)
    assert move.progress["step"] == step
    with acting_for_platform("a test"):
        move = running.run(move)
    assert move.state == "retained"
    assert before in (None, content(full))
    assert context.act_for(full, EndUser.objects.count) == 200  # with a ref from before the move
    schemas, roles = traces(full)
    assert schemas == {("home", False), (move.target.database_name, True)}
    assert len(roles) == 2


@pytest.mark.parametrize("step", [step for step in BEFORE_FENCE if step in ("opening", "preparing", "fencing")])
def test_r14_a_move_killed_before_the_switch_can_be_cancelled(full, step):
    before, orphans = content(full), opened_for_moves()
    move = kill(full, step)
    with acting_for(full):  # usable all the while
        assert EndUser.objects.count() == 200
    with acting_for_platform("a test"):
        assert orders.cancel(move).state == "rolled_back"
    assert content(full) == before
    assert traces(full) == ({("home", True)}, {full.role})
    assert opened_for_moves() == orphans


def test_nothing_acknowledged_during_moves_is_lost(full, second):
    kept, faults, ended = [], [], threading.Event()

    def work():
        try:
            while not ended.is_set():
                row = context.act_for(full, EndUser.objects.create, secret_hash=uuid4().hex)  # as run_for does
                kept.append(row.pk)
        except Exception as error:  # noqa: BLE001  shown below
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    with acting_for_platform("a test"):
        home = Database.objects.get(name="shared_1")
    for target in (second, home, second):
        move_to(full, target)
    ended.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(kept) > 20
    with acting_for(full):
        assert EndUser.objects.filter(pk__in=kept).count() == len(kept)


def test_an_old_connection_cannot_write_to_the_old_place(full, second):
    with psycopg.connect(databases.address(Database(url_variable="DATABASE_URL")), autocommit=True) as old:
        old.execute(
            "select set_config('role', %s, false), set_config('search_path', %s, false)", [full.role, full.schema]
        )
        assert old.execute("select count(*) from conversations_enduser").fetchone() == (200,)
        move_to(full, second)
        with pytest.raises(psycopg.errors.UndefinedTable):
            old.execute("delete from conversations_enduser")


def test_a_process_that_remembers_the_old_place_asks_again(full, second):
    browser = Client(headers={"host": host_of(full)})
    assert browser.get("/chat/").status_code == 200
    remembered = dict(directory._cache)
    move_to(full, second)
    context._moved.clear()  # as it is in another process
    directory._cache.update(remembered)
    answer = Client(headers={"host": host_of(full)}).get("/chat/?a=1")
    assert (answer.status_code, answer.headers["location"]) == (302, "/chat/?a=1")
    assert Client(headers={"host": host_of(full)}).get("/chat/?a=1").status_code == 200


def test_a_move_that_gets_no_lock_gives_up_and_can_be_tried_again(full, second, monkeypatch):
    monkeypatch.setattr(running, "LOCK_MS", 20)
    with psycopg.connect(databases.address(Database(url_variable="DATABASE_URL"))) as busy:
        busy.execute(
            "select set_config('role', %s, true), set_config('search_path', %s, true)", [full.role, full.schema]
        )
        busy.execute("update conversations_enduser set secret_hash = 'late' || secret_hash")
        with pytest.raises(NoLock):
            move_to(full, second)
        assert traces(full)[0] == {("home", True)}
        busy.commit()
    assert move_to(full, second).state == "retained"
    with acting_for(full):
        assert EndUser.objects.filter(secret_hash__startswith="late").count() == 200


def test_a_copy_that_differs_is_thrown_away(full, second, monkeypatch):
    with acting_for(full):
        one = EndUser.objects.first().secret_hash

    def spoiled(source, target, tables, report, copy=copying.copy):
        copy(source, target, tables, report)
        target.execute("update conversations_enduser set secret_hash = 'y' where secret_hash = %s", [one])

    monkeypatch.setattr(copying, "copy", spoiled)
    with pytest.raises(CopyDiffers, match="conversations_enduser"):
        move_to(full, second)
    assert traces(full)[0] == {("home", True)}
    monkeypatch.undo()


def test_one_move_at_a_time_and_none_to_where_the_tenant_is(full):
    with acting_for_platform("a test"):
        row = lifecycle.named(full.slug)
        first = orders.plan(row, None, by="a test")
        with pytest.raises(Conflict):
            orders.plan(row, None, by="a test")
        assert orders.cancel(first).state == "rolled_back"
    with pytest.raises(CommandError, match="already"):
        call_command("move_tenant", full.slug, to="shared_1")


def test_the_commands_foresee_move_list_and_take_back(full, second):
    def run(*command) -> str:
        out = io.StringIO()
        call_command(*command, stdout=out)
        return out.getvalue()

    assert f"to {second.name}" in run("move_tenant", full.slug, "--to", second.name, "--dry-run")
    done = json.loads(run("move_tenant", full.slug, "--to", second.name, "--json"))
    assert done["state"] == "retained" and done["rows"] > 200
    listed = json.loads(run("moves", "--json"))
    assert listed[0]["tenant"] == full.slug and listed[0]["state"] == "retained"
    assert "shared_1 again" in run("move_back", listed[0]["id"])
    with acting_for_platform("a test"):
        assert Tenant.objects.get(pk=full.id).database.name == "shared_1"
    for wrong in (["move_resume", "zz"], ["move_back", listed[0]["id"]], ["move_tenant", "nobody", "--to-dedicated"]):
        with pytest.raises(CommandError):
            call_command(*wrong)
