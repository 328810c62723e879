"""agents.turns.lease and sweep: what is watched is what runs, and one tenant's trouble is its own."""

import asyncio
import time
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from agents import publishing
from agents.conversations import opening, recording
from agents.conversations.errors import EmptyMessage, NoConversation
from agents.conversations.models import Turn
from agents.conversations.records import Use
from agents.conversations.visitors import known_by
from agents.models import AgentConfig
from agents.turns import asking, lease, refill, running, sweep
from metering import ledger, limits
from metering.outbox import pending
from metering.outbox.models import UsageEvent
from platform_site import ending
from tenants import crypto, directory, store
from tenants.context import acting_for, acting_for_platform, run_for
from tenants.ids import uuid7
from tenants.keys import redis_key
from tenants.models import Tenant
from tests.conftest import until

ANN, BOB = known_by("ann"), known_by("bob")
USE = Use("openai/m", 1_000, 2, 0, "estimated")


@pytest.fixture(autouse=True)
def _own_store(empty_store):
    """No other test's process sweeps here, and no claims of earlier tests lapse: a sweep takes twenty."""


def watched(tenant) -> int:
    """How many leases the tenant has."""
    return sum(lease.parsed(member)[0] == tenant.id for member in store.client().zrange(lease.KEY, 0, -1))


def test_a_message_that_opens_no_turn_leaves_no_lease(acme):
    conversation, client_id = uuid4(), uuid4()
    with acting_for(acme):
        for _ in range(3):
            asking.open_turn(conversation=conversation, visitor=ANN, client_id=client_id, text="Hello?")
        with pytest.raises(NoConversation):
            asking.open_turn(conversation=conversation, visitor=BOB, client_id=uuid4(), text="Mine?")
        with pytest.raises(EmptyMessage):
            asking.open_turn(conversation=conversation, visitor=ANN, client_id=uuid4(), text=" ")
    assert watched(acme) == 1


def test_a_claim_is_on_its_way_before_the_turn_is_stored(acme):
    member = lease.member_of(acme.id, uuid4(), 1)
    with lease.claiming(member):
        until(lambda: store.client().zscore(lease.KEY, member), seconds=2)


def test_a_claim_that_was_lost_on_its_way_is_made_once_more(acme, line_to_store):
    member = lease.member_of(acme.id, uuid4(), 1)
    line_to_store.swallowing = True
    with lease.claiming(member):
        until(lambda: line_to_store.swallowed)
        line_to_store.swallowing = False
        line_to_store.reset()
    assert not due(member)
    assert store.client().ping() is True  # nobody gets another's answer


def test_a_claim_on_a_line_that_has_died_is_made_before_the_turn_is_stored(acme, line_to_store):
    member = lease.member_of(acme.id, uuid4(), 1)
    line_to_store.reset()
    with lease.claiming(member):
        until(lambda: store.client().zscore(lease.KEY, member), seconds=2)


def test_a_question_is_stored_though_its_claim_cannot_be_sent(acme, line_to_store):
    line_to_store.cut()
    with acting_for(acme):
        opened = asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?")
    assert state_of(acme, opened.turn) == Turn.State.RUNNING
    assert lease.take_doubt()


def lapse(member: str) -> None:
    """What comes of a claim whose owner has died."""
    lease.let_go(member)
    store.client().zadd(lease.KEY, {member: 1})


def due(member: str) -> bool:
    """Whether whoever sweeps next takes it."""
    return store.client().zscore(lease.KEY, member) < time.time() * 1000


def state_of(tenant, turn) -> str:
    with acting_for(tenant):
        return Turn.objects.get(pk=turn).state


def _orphan(tenant):
    """A turn whose owner is gone, and which may not run again; its lease has lapsed."""
    with acting_for(tenant):
        opened = opening.open_turn(
            turn=uuid7(), conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?",
            version=publishing.live_version(),
        )  # fmt: skip
        recording.mark_written(opened.turn)
    store.client().zadd(lease.KEY, {lease.member_of(tenant.id, opened.turn, 1): 1})
    return opened.turn


@pytest.fixture
def broken(acme):
    """A tenant whose tables cannot be reached."""
    _renamed(acme, "t_gone")
    yield acme
    _renamed(acme, acme.schema)


def _renamed(tenant, schema: str) -> None:
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk=tenant.id).update(schema_name=schema)
    directory.forget()


@pytest.mark.parametrize("store_was_emptied", [False, True])
def test_a_tenant_that_cannot_be_reached_does_not_keep_the_others_orphans_waiting(broken, globex, store_was_emptied):
    orphan = _orphan(globex)
    store.client().zadd(lease.KEY, {lease.member_of(broken.id, uuid7(), 1): 0})  # looked at first
    store.client().set(refill.WHOLE_KEY, "1")
    if store_was_emptied:
        with acting_for(globex):
            Turn.objects.update(started_at=timezone.now() - timedelta(minutes=1))
        store.client().delete(lease.KEY, refill.WHOLE_KEY)
        asyncio.run(sweep.sweep())  # finds it; nobody renews it
        # another test's process may have found it first, and may own it now
        store.client().zadd(lease.KEY, {lease.member_of(globex.id, orphan, 1): 1})
    asyncio.run(sweep.sweep())
    with acting_for(globex):
        assert Turn.objects.get(pk=orphan).state == Turn.State.INTERRUPTED


def test_a_builders_trial_whose_owner_is_gone_goes_on_though_nothing_was_published(acme):
    with acting_for(acme):
        AgentConfig.objects.update(is_default=False)
        fresh = AgentConfig.objects.create(name="Fresh", instructions="Be kind.", model="openai/m", is_default=True)
        publishing.forget(acme.id)
        opened = asking.open_turn(
            conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?", channel="test",
            version=publishing.answering(fresh.pk, "test"),
        )  # fmt: skip
        recording.mark_written(opened.turn)
        limits.reserve(turn_id=opened.turn, conversation_id=opened.conversation, tokens=2_000)
        lapse(lease.member_of(acme.id, opened.turn, 1))
    store.client().set(refill.WHOLE_KEY, "1")
    asyncio.run(sweep.sweep())
    with acting_for(acme):
        assert Turn.objects.get(pk=opened.turn).state == Turn.State.INTERRUPTED
        assert UsageEvent.objects.get().payload["model"] == "openai/m"


def test_a_turn_that_is_still_being_prepared_is_taken_over_by_nobody(acme):
    with acting_for(acme):
        opened = asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?")
        recording.mark_written(opened.turn)
    member = lease.member_of(acme.id, opened.turn, 1)
    assert member in lease.held()  # so that it is renewed
    store.client().zadd(lease.KEY, {member: 1})
    store.client().set(refill.WHOLE_KEY, "1")
    asyncio.run(sweep.sweep())
    assert state_of(acme, opened.turn) == Turn.State.RUNNING
    lapse(member)
    asyncio.run(sweep.sweep())
    assert state_of(acme, opened.turn) == Turn.State.INTERRUPTED
    assert member not in lease.held()


def test_a_question_that_cannot_be_read_is_not_taken_over_for_ever(acme):
    with acting_for(acme):
        opened = asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?")
        with connections[acme.alias].cursor() as cursor:
            cursor.execute("update conversations_message set text = %s where id = %s", [b"spoilt", opened.message])
    lapse(member := lease.member_of(acme.id, opened.turn, 1))
    asyncio.run(sweep.sweep())
    assert state_of(acme, opened.turn) == Turn.State.INTERRUPTED
    assert store.client().zscore(lease.KEY, member) is None


@pytest.mark.parametrize("relayed", [False, True])
def test_use_of_an_owner_that_died_before_saying_so_is_announced_and_settled_by_whoever_sweeps(
    acme, empty_store, relayed
):
    store.client().set(pending.WHOLE, 1)
    with acting_for(acme):
        opened = asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?")
        limits.reserve(turn_id=opened.turn, conversation_id=opened.conversation, tokens=5_000)
        recording.close_turn(
            opened=opened, attempt=1, outcome="done", author="A", text="Yes.", citations=[], tool_calls=[], uses=[USE]
        )
        if relayed:  # as all tenants are now and then
            pending.mark()
            assert ledger.relay_tenant() == 1
            pending.take_off()
    lapse(member := lease.member_of(acme.id, opened.turn, 1))
    assert acme.id not in pending.tenant_ids()
    asyncio.run(sweep.sweep())
    assert acme.id in pending.tenant_ids()
    assert store.client().zscore(lease.KEY, member) is None
    with acting_for(acme):
        assert limits.reserved(turn_id=opened.turn) is None
        assert limits.sessions_now() == 0
        assert int(store.client().hget(redis_key("lim"), "hour")) == USE.input_tokens + USE.output_tokens


@pytest.fixture
def written(acme):
    """A turn of acme whose owner is gone, and which may not run again; its lease has lapsed."""
    store.client().set(refill.WHOLE_KEY, "1")
    return _orphan(acme)


def test_a_later_attempt_whose_lease_lapses_beside_the_first_is_not_ended_with_it(acme):
    with acting_for(acme):
        turns = [
            asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?").turn for _ in range(6)
        ]
    for turn in turns:
        for attempt in (1, 2):
            lapse(lease.member_of(acme.id, turn, attempt))
    store.client().set(refill.WHOLE_KEY, "1")

    async def swept_until_answered():
        await sweep.sweep()
        while running.here():
            await asyncio.sleep(0.05)
        await lease.release(running.take_ended())

    asyncio.run(swept_until_answered())
    assert {state_of(acme, turn) for turn in turns} == {Turn.State.DONE}


def test_a_take_over_that_fails_leaves_the_lease_as_it_was(broken):
    turn = uuid7()
    lapse(lease.member_of(broken.id, turn, 1))
    store.client().set(refill.WHOLE_KEY, "1")
    asyncio.run(sweep.sweep())
    assert store.client().zscore(lease.KEY, lease.member_of(broken.id, turn, 1)) > time.time() * 1000
    assert store.client().zscore(lease.KEY, lease.member_of(broken.id, turn, 2)) is None


def test_an_owner_that_died_before_it_had_a_lease_is_found_by_whoever_sweeps_the_one_before(acme):
    with acting_for(acme):
        opened = asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?")
        assert recording.take_over(opened.turn, attempt=1).attempt == 2
    lapse(first := lease.member_of(acme.id, opened.turn, 1))
    store.client().set(refill.WHOLE_KEY, "1")
    asyncio.run(sweep.sweep())
    assert store.client().zscore(lease.KEY, first) is None
    assert store.client().zscore(lease.KEY, lease.member_of(acme.id, opened.turn, 2)) > time.time() * 1000
    assert state_of(acme, opened.turn) == Turn.State.RUNNING


def test_a_process_without_the_tenants_key_leaves_its_turns_to_others(acme, written, settings):
    keys, settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS, [("k2", bytes(range(32)))]
    crypto._data_keys.clear()
    asyncio.run(sweep.sweep())
    assert state_of(acme, written) == Turn.State.RUNNING
    until(lambda: due(lease.member_of(acme.id, written, 1)), seconds=lease.LEASE_MS / 1000)
    settings.ENCRYPTION_KEYS = keys
    asyncio.run(sweep.sweep())
    assert state_of(acme, written) == Turn.State.INTERRUPTED


def test_a_late_second_sweep_leaves_the_next_attempts_claim_alone(acme):
    with acting_for(acme):
        opened = asking.open_turn(conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?")
        limits.reserve(turn_id=opened.turn, conversation_id=opened.conversation, tokens=2_000)
        assert recording.take_over(opened.turn, attempt=1, said="Well", use=USE).attempt == 2
        assert limits.reserved(turn_id=opened.turn) is None  # what the first had claimed
        limits.reserve(turn_id=opened.turn, conversation_id=opened.conversation, tokens=3_000)
        assert recording.take_over(opened.turn, attempt=1, said="Well", use=USE) is None
        assert limits.reserved(turn_id=opened.turn) == 3_000
        assert UsageEvent.objects.count() == 1
    lease.let_go(lease.member_of(acme.id, opened.turn, 1))


def test_a_process_that_ends_takes_over_nothing_more(acme, monkeypatch):
    orphan = _orphan(acme)
    store.client().set(refill.WHOLE_KEY, "1")
    monkeypatch.setattr(ending, "_begun", True)
    asyncio.run(sweep.sweep())
    assert state_of(acme, orphan) == Turn.State.RUNNING
    monkeypatch.setattr(ending, "_begun", False)
    assert due(lease.member_of(acme.id, orphan, 1))  # for another process, at once
    asyncio.run(sweep.sweep())
    assert state_of(acme, orphan) == Turn.State.INTERRUPTED


def test_a_turn_whose_claim_was_not_written_is_found_once_the_store_is_doubted(acme):
    orphan = _orphan(acme)
    member = lease.member_of(acme.id, orphan, 1)
    with acting_for(acme):
        Turn.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    store.client().zrem(lease.KEY, member)
    store.client().set(refill.WHOLE_KEY, "1")
    asyncio.run(sweep.sweep())
    assert watched(acme) == 0
    lease.doubt()
    asyncio.run(sweep.sweep())
    assert watched(acme) == 1 and 0 < store.client().ttl(refill.WHOLE_KEY) <= refill.DOUBTFUL_SECONDS
    lapse(member)
    asyncio.run(sweep.sweep())
    assert state_of(acme, orphan) == Turn.State.INTERRUPTED


def test_one_process_at_a_time_looks_through_all_tenants_and_the_others_go_on_doubting(acme):
    orphan = _orphan(acme)
    with acting_for(acme):
        Turn.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    store.client().delete(lease.KEY)
    store.client().set(refill.LOOKING_KEY, "1")
    lease.doubt()
    asyncio.run(sweep.sweep())
    assert watched(acme) == 0
    store.client().delete(refill.LOOKING_KEY)
    asyncio.run(sweep.sweep())
    assert watched(acme) == 1 and not store.client().exists(refill.LOOKING_KEY)
    lapse(lease.member_of(acme.id, orphan, 1))
    asyncio.run(sweep.sweep())
    assert state_of(acme, orphan) == Turn.State.INTERRUPTED


def test_tenants_that_could_not_be_looked_at_are_looked_at_again_soon(broken, globex):
    store.client().delete(refill.WHOLE_KEY)
    asyncio.run(sweep.sweep())
    assert 0 < store.client().ttl(refill.WHOLE_KEY) <= refill.DOUBTFUL_SECONDS


async def test_a_turn_that_is_stopped_or_handed_over_as_it_begins_is_cleared_away(acme):
    question = partial(asking.open_turn, conversation=uuid4(), visitor=ANN, text="Hello?")
    stopped = await run_for(acme, question, client_id=uuid4())
    running.launch(acme, stopped)
    assert await running.stop(acme, stopped.conversation, stopped.turn)
    async with asyncio.timeout(20):
        while running.here():
            await asyncio.sleep(0.01)
    assert await run_for(acme, state_of, acme, stopped.turn) == Turn.State.STOPPED
    left = await run_for(acme, question, client_id=uuid4())
    running.launch(acme, left)
    async with asyncio.timeout(20):
        assert await running.hand_over() == 1
    assert await run_for(acme, state_of, acme, left.turn) == Turn.State.RUNNING
