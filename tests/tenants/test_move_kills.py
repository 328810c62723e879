"""Moves whose process is killed, at each of their steps: one truth, no rest, and nobody has to notice."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone

from agents.conversations.models import EndUser, Message
from platform_site.errors import Conflict
from platform_site.tasks import HEARTBEAT_KEY
from tenants import context, lifecycle, relocation, schemas, servers, store
from tenants.context import acting_for, acting_for_platform
from tenants.models import Database, Move, role_name
from tenants.moves import exclusion, orders, running, steps
from tests.agents.chatting import Browser
from tests.conftest import FULL, until
from tests.tenants.moving import content, move_to, opened_for_moves, traces
from tests.threads import in_thread

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
BEFORE_FENCE = steps.STEPS[: steps.STEPS.index("fencing") + 1]
# Dies at a step of a move, as often as it is asked. Each time in a child, because Django takes a second to start
MORTAL = """
import os, sys, django
django.setup()
from tenants import lifecycle, placements
from tenants.context import acting_for_platform
from tenants.moves import orders, running, steps
reach = steps.reach
def die(slug, last, target):
    def killed(move, state, step, **progress):
        reach(move, state, step, **progress)
        if step == last:
            os._exit(9)
    steps.reach = killed
    with acting_for_platform("a test"):
        place = placements.named(target) if target else None
        running.run(orders.plan(lifecycle.named(slug), place, by="a test"))
for line in sys.stdin:
    if not (child := os.fork()):
        die(*line.rstrip("\\n").split("\\t"))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def mortal():
    """``kill(tenant, step, target)``: begin a move in a process that dies at this step."""
    command = [sys.executable, "-c", MORTAL]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "platform_site.settings"}
    running = {}

    def kill(tenant, step: str, target: Database | None = None, *, ahead: bool = True) -> Move:
        if ahead not in running:
            size = {"MOVE_AHEAD_BYTES": "1" if ahead else str(10**12)}
            running[ahead] = subprocess.Popen(
                command, cwd=ROOT, env=environment | size, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        process = running[ahead]
        print(tenant.slug, step, target.name if target else "", sep="\t", file=process.stdin, flush=True)
        assert process.stdout.readline() == "9\n"
        until(nobody_holds_a_lock)  # the server needs a moment to notice that its client has died
        with acting_for_platform("a test"):
            return Move.objects.select_related("tenant", "source", "target").get(tenant_id=tenant.id)

    yield kill
    for process in running.values():
        process.communicate()


LOCKS = """
select count(*) from pg_locks where pid <> pg_backend_pid() and (locktype = 'advisory'
    or locktype = 'relation' and mode in ('ShareLock', 'ExclusiveLock', 'AccessExclusiveLock'))
"""


def nobody_holds_a_lock() -> bool:
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute(LOCKS)
        return cursor.fetchone()[0] == 0


def gone_on(move: Move) -> Move:
    """The move once it has ended: here, or by a worker of the same run of tests."""
    with acting_for_platform("a test"):
        try:
            return running.run(move)
        except Conflict:
            until(lambda: not Move.objects.filter(pk=move.pk, state__in=Move.UNDER_WAY).exists())
            return Move.objects.get(pk=move.pk)


# What lasts after a kill at one of these is what lasts after one at the step before: only `bin/test full` dies there
ALIKE = ("preparing", "locking", "comparing", "committing", "settling")
KILLS = [
    *((step, True) for step in steps.STEPS if FULL or step not in ALIKE),
    *((step, False) for step in steps.LOCKED if FULL or step == "copying"),
]


@pytest.mark.parametrize(("step", "ahead"), KILLS)
def test_r15_a_move_killed_at_any_step_goes_on(full, second, mortal, settings, step, ahead):
    settings.MOVE_AHEAD_BYTES = 1 if ahead else 10**12
    before = content(full) if step in BEFORE_FENCE else None
    move = mortal(full, step, second, ahead=ahead)
    assert move.progress["step"] == step
    assert gone_on(move).state == "retained"
    assert before in (None, content(full))
    assert context.act_for(full, EndUser.objects.count) == 200  # with a ref from before the move
    schemas, roles = traces(full)
    assert schemas == {("home", False), (second.name, True)}
    assert len(roles) == 2


@pytest.mark.parametrize("step", ["opening", "following", "fencing"])
def test_r15_a_move_killed_before_the_switch_can_be_cancelled(full, mortal, step):
    before, orphans = content(full), opened_for_moves()
    move = mortal(full, step)
    with acting_for_platform("a test"):
        assert orders.cancel(move, by="a test").state == "rolled_back"
    with acting_for(full):
        assert EndUser.objects.count() == 200
    assert content(full) == before
    assert traces(full) == ({("home", True)}, {full.role})
    assert opened_for_moves() == orphans


def leave_half(move: Move, last: str) -> None:
    """Drop as much of its old copy as a finish did that was killed after this."""
    source = move.source
    schemas.drop(source, move.old_schema, role_name(source.pk, move.tenant_id))
    if last != "schema":
        Database.objects.filter(pk=source.pk).update(state=Database.State.DROPPING)
    if last == "database":
        with servers.connected(source) as server:
            server.execute(f"drop database {source.database_name} with (force)")


@pytest.mark.parametrize("last", ["schema", "mark", "database"])
def test_a_finish_killed_after_it_dropped_something_drops_the_rest_the_next_time(full, last):
    orphans = opened_for_moves()
    move = move_to(full)
    with acting_for_platform("a test"):
        back = running.run(orders.plan_back(orders.find(move.pk.hex), by="a test"))
        leave_half(back, last)
        assert orders.finish(orders.find(back.pk.hex)).state == "done"
    assert traces(full) == ({("home", True)}, {full.role})
    assert opened_for_moves() <= orphans


def test_a_finish_killed_in_a_shared_database_is_over_the_next_time(full, second):
    move = move_to(full, second)
    with acting_for_platform("a test"):
        with exclusion.alone(move):
            relocation.carry_out_finish(move.pk)
        assert "Another process" in Move.objects.get(pk=move.pk).error
        leave_half(move, "schema")
        relocation.carry_out_finish(move.pk)
        move.refresh_from_db()
        assert (move.state, move.error) == ("done", "")
    assert traces(full)[0] == {(second.name, True)}


def test_a_move_that_was_only_ordered_is_left_to_whom_it_was_ordered_of_for_a_moment(acme, second):
    with acting_for_platform("a test"):
        move = orders.plan(lifecycle.named(acme.slug), second, by="a test")
        assert move not in orders.resume_dead()
        Move.objects.filter(pk=move.pk).update(created_at=timezone.now() - orders.START)
        with exclusion.alone(move):
            assert move not in orders.resume_dead()
        assert move in orders.resume_dead()
        assert move not in orders.resume_dead()  # what cannot be gone on with must not fill the worker
        orders.cancel(move, by="a test")


async def test_r15_a_chat_goes_on_within_seconds_where_the_mover_was_killed_behind_its_fence(
    full, second, mortal, server, worker
):
    """Between fence and switch the tenant is nowhere; nobody but the clock and a worker know how it goes on."""
    async with Browser(full, server).socket() as chat:
        await asyncio.to_thread(until, worker_answers, seconds=60)
        killed = asyncio.create_task(asyncio.to_thread(in_thread, mortal, full, "switching", second))
        await asyncio.to_thread(in_thread, until, lambda: step_of(full) == "switching", seconds=60)
        began = time.monotonic()
        await chat.ask("When are you open?")
        event = await chat.next()
        while event["type"] == "error" and event["code"] == "moving":
            event = await chat.next()
        assert event["type"] == "accepted", event
        waited_seconds = time.monotonic() - began
        await chat.until("turn.finished")
        await killed
    assert waited_seconds < 10
    logger.info("a chat waited %.1f s", waited_seconds)
    assert await context.run_for(full, Message.objects.filter(pk=event["message"]).exists)


def worker_answers() -> bool:
    return store.client().get(HEARTBEAT_KEY) is not None


def step_of(tenant) -> str:
    with acting_for_platform("a test"):
        move = Move.objects.filter(tenant_id=tenant.id).first()
        return move.progress.get("step", "") if move else ""
