"""Moves: every row arrives, nothing acknowledged is lost, and a kill at any step leaves one truth and no rest."""

import asyncio
import io
import json
import threading
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from agents.conversations.models import EndUser, Message
from platform_site.errors import Conflict
from tenants import context, databases, directory, lifecycle
from tenants.context import acting_for, acting_for_platform, current
from tenants.errors import CopyDiffers, MoveCancelled
from tenants.models import Move, Tenant
from tenants.moves import copying, orders, progress, running, steps
from tenants.transactions import atomic
from tests.agents.chatting import Browser
from tests.conftest import host_of, until
from tests.tenants.moving import content, home_of, move_to, opened_for_moves, traces, write
from tests.threads import Threads, in_thread

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[1, 10**12], ids=["ahead", "locked"])
def either_way(request, settings):
    """Copied while the tenant works, and under the lock."""
    settings.MOVE_AHEAD_BYTES = request.param


def test_promoted_and_taken_back_every_row_is_there(full, settings):
    settings.MOVE_AHEAD_BYTES = 1
    before, orphans = content(full), opened_for_moves()
    move = move_to(full)
    assert move.state == "retained" and move.target.kind == "dedicated"
    assert content(full) == before
    assert Client(headers={"host": host_of(full)}).get("/chat/").status_code == 200
    meanwhile = write(full, 3)  # with a ref from before the move
    after = content(full)
    with acting_for_platform("a test"):
        back = running.run(orders.plan_back(orders.find(move.pk.hex[-12:]), by="a test"))
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
    assert schemas == {(second.name, True)}
    assert len(roles) == 1 and roles != {full.role}
    with acting_for(full):  # the ref of before: its role is gone
        assert EndUser.objects.count() == 200


def test_the_old_copy_stays_while_a_table_is_not_whole_at_the_new_place(full, second, globex):
    move, other = move_to(full, second), move_to(globex, second)
    with acting_for_platform("a test"):
        place = lifecycle.named(full.slug)
        with psycopg.connect(databases.provision_address(second)) as connection:
            copying.enter(connection, place.schema_name, place.role)
            connection.execute("alter table conversations_feedback rename column value to lost")
        with pytest.raises(Conflict, match="conversations_feedback"):
            orders.finish(orders.find(move.pk.hex))
        Move.objects.filter(pk__in=[move.pk, other.pk]).update(retained_until=timezone.now())
        assert {done.pk for done in orders.finish_due()} == {other.pk}  # one stops no other
        assert ("home", False) in traces(full)[0]
        with psycopg.connect(databases.provision_address(second)) as connection:
            copying.enter(connection, place.schema_name, place.role)
            connection.execute("alter table conversations_feedback rename column lost to value")
        orders.finish(orders.find(move.pk.hex))
    assert traces(full)[0] == {(second.name, True)}


def test_nothing_acknowledged_during_moves_is_lost(full, second, either_way):
    kept, gone, faults, ended = {}, [], [], threading.Event()

    def one_more() -> None:
        row = EndUser.objects.create(secret_hash=uuid4().hex)
        kept[row.pk] = row.secret_hash
        if len(kept) % 3 == 0:
            new = uuid4().hex
            EndUser.objects.filter(pk=row.pk).update(secret_hash=new)
            kept[row.pk] = new
        if len(kept) % 5 == 0:
            EndUser.objects.filter(pk=row.pk).delete()
            gone.append(row.pk)
            del kept[row.pk]

    def work():
        try:
            while not ended.is_set():
                context.act_for(full, one_more)  # as run_for does
        except Exception as error:  # noqa: BLE001  shown below
            faults.append(error)

    threads = [threading.Thread(target=in_thread, args=[work]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for target in (second, home_of(full)):
        move_to(full, target)
    ended.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(kept) > 20
    with acting_for(full):
        assert dict(EndUser.objects.filter(pk__in=kept).values_list("pk", "secret_hash")) == kept
        assert not EndUser.objects.filter(pk__in=gone).exists()


@pytest.fixture
def at_step(monkeypatch):
    """``at_step("following", work)``: do this as soon as a move reaches the step."""

    def arrange(last: str, work):
        def reached(move, state, step, reach=steps.reach, **progress):
            reach(move, state, step, **progress)
            if step == last:
                work()

        monkeypatch.setattr(steps, "reach", reached)

    return arrange


def test_what_is_changed_and_deleted_while_rows_are_copied_is_carried(full, second, settings, at_step):
    settings.MOVE_AHEAD_BYTES = 1
    with acting_for(full):
        first, other, *_ = EndUser.objects.order_by("pk")

    def change():
        context.act_for(full, EndUser.objects.filter(pk=first.pk).delete)
        context.act_for(full, EndUser.objects.filter(pk=other.pk).update, secret_hash="changed")

    at_step("following", change)  # the rows are at the new place already
    move = move_to(full, second)
    assert move.progress["way"] == "ahead"
    with acting_for(full):
        assert not EndUser.objects.filter(pk=first.pk).exists()
        assert EndUser.objects.get(pk=other.pk).secret_hash == "changed"
        assert EndUser.objects.count() == 199


def test_a_move_is_cancelled_within_seconds_while_rows_are_copied(full, second, settings, at_step):
    settings.MOVE_AHEAD_BYTES = 1
    before, stuck = content(full), threading.Event()
    with psycopg.connect(databases.provision_address(home_of(full))) as busy, Threads(2) as threads:

        def hold():
            copying.enter(busy, full.schema, full.role)
            busy.execute("lock table conversations_enduser in access exclusive mode")
            stuck.set()

        at_step("syncing", hold)
        moving = threads.submit(move_to, full, second)
        assert stuck.wait(10)
        with acting_for_platform("a test"):
            move = Move.objects.select_related("tenant", "source", "target").get(tenant_id=full.id)
        began = time.monotonic()
        cancelling = threads.submit(cancel, move)
        try:
            until(lambda: wishes(move) and not copies_wait(busy))
        finally:
            busy.rollback()  # a test that fails must not leave its mover waiting
        with pytest.raises(MoveCancelled):
            moving.result()
        assert cancelling.result().state == "rolled_back"
    assert time.monotonic() - began < 5
    assert content(full) == before
    assert traces(full) == ({("home", True)}, {full.role})


def cancel(move: Move) -> Move:
    with acting_for_platform("a test"):
        return orders.cancel(move, by="a test")


def copies_wait(connection) -> bool:
    query = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'copy%'"
    connection.execute("select pg_stat_clear_snapshot()")  # a transaction keeps what it saw first
    return connection.execute(query).fetchone() is not None


def wishes(move: Move) -> bool:
    with acting_for_platform("a test"):
        return Move.objects.get(pk=move.pk).cancelled


def test_where_changes_cannot_be_followed_writes_wait_and_it_is_said(full, second, settings, caplog):
    settings.MOVE_AHEAD_BYTES = 1
    with psycopg.connect(databases.provision_address(home_of(full))) as connection:
        copying.enter(connection, full.schema, full.role)
        connection.execute("alter table conversations_feedback drop constraint conversations_feedback_pkey")
    with acting_for_platform("a test"):
        foreseen = orders.foresee(lifecycle.named(full.slug), second)
    assert (foreseen["way"], "conversations_feedback" in foreseen["notice"]) == ("lock", True)
    move = move_to(full, second)
    assert progress.facts(move).notice == foreseen["notice"]
    assert "writes wait for the whole copy" in caplog.text


def test_an_old_connection_cannot_write_to_the_old_place(full, second):
    with psycopg.connect(databases.address(home_of(full)), autocommit=True) as old:
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


def test_a_move_that_gets_no_lock_gives_up_and_is_tried_again(full, second, monkeypatch):
    monkeypatch.setattr(steps, "LOCK_MS", 20)
    monkeypatch.setattr(steps, "LOCK_ATTEMPTS", 2)
    with psycopg.connect(databases.address(home_of(full))) as busy:
        busy.execute(
            "select set_config('role', %s, true), set_config('search_path', %s, true)", [full.role, full.schema]
        )
        busy.execute("update conversations_enduser set secret_hash = 'late' || secret_hash")
        with acting_for_platform("a test"):
            first = orders.plan(lifecycle.named(full.slug), second, by="a test")
            orders.carry_out(first.pk)
        assert traces(full)[0] == {("home", True)}
        busy.commit()
    with acting_for_platform("a test"):
        assert orders.find(first.pk.hex).state == "failed"
        again = Move.objects.get(tenant_id=full.id, state="planned")  # by a worker, in a minute
        assert running.run(again).state == "retained"
    with acting_for(full):
        assert EndUser.objects.filter(secret_hash__startswith="late").count() == 200


def test_a_copy_that_differs_is_thrown_away(full, second, either_way, monkeypatch):
    with acting_for(full):
        one = EndUser.objects.first().secret_hash

    def spoiled(source, target, table, *args, stream=copying.stream, **kwargs):
        stream(source, target, table, *args, **kwargs)
        target.execute("update conversations_enduser set secret_hash = 'y' where secret_hash = %s", [one])

    monkeypatch.setattr(copying, "stream", spoiled)
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
        assert orders.cancel(first, by="a test").state == "rolled_back"
    with pytest.raises(CommandError, match="already"):
        call_command("move_tenant", full.slug, to=home_of(full).name)


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
    assert f"{home_of(full)} again" in run("move_back", listed[0]["id"])
    with acting_for_platform("a test"):
        assert Tenant.objects.get(pk=full.id).database == home_of(full)
    for wrong in (["move_resume", "zz"], ["move_back", listed[0]["id"]], ["move_tenant", "nobody", "--to-dedicated"]):
        with pytest.raises(CommandError):
            call_command(*wrong)


async def test_a_chat_whose_writes_wait_is_told_and_goes_on_by_itself(full, second, server, at_step):
    frozen, told = threading.Event(), threading.Event()
    at_step("comparing", lambda: (frozen.set(), told.wait(30)))
    async with Browser(full, server).socket() as chat:
        moving = asyncio.create_task(asyncio.to_thread(in_thread, move_to, full, second))
        await asyncio.to_thread(frozen.wait, 30)
        await chat.ask("When are you open?")
        notice = await chat.next()
        told.set()
        assert (notice["type"], notice["code"], notice["id"]) == ("error", "moving", None)
        accepted = await chat.until("accepted")
        await chat.until("turn.finished")
        await moving
    assert await context.run_for(full, Message.objects.filter(pk=accepted["message"]).exists)


async def test_a_write_that_waited_too_long_for_a_move_is_begun_again(full, second, at_step):
    frozen, tried, attempts = threading.Event(), threading.Event(), []
    at_step("comparing", lambda: (frozen.set(), tried.wait(10)))

    def impatient():
        attempts.append(current())
        if len(attempts) > 2:
            tried.set()
        with atomic(), connections[current().alias].cursor() as cursor:
            cursor.execute("select set_config('lock_timeout', '50ms', true)")
            return EndUser.objects.create(secret_hash=uuid4().hex).pk

    moving = asyncio.create_task(asyncio.to_thread(in_thread, move_to, full, second))
    await asyncio.to_thread(frozen.wait, 30)
    written = await context.run_for(full, impatient)
    await moving
    assert len(attempts) > 2
    assert await context.run_for(full, EndUser.objects.filter(pk=written).exists)
