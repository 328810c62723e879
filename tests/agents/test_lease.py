"""agents.turns.lease and sweep: what is watched is what runs, and one tenant's trouble is its own."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from agents import publishing
from agents.conversations import opening, recording
from agents.conversations.errors import EmptyMessage, NoConversation
from agents.conversations.models import Turn
from agents.conversations.visitors import known_by
from agents.models import AgentConfig
from agents.turns import lease, running, sweep
from metering import limits
from metering.outbox.models import UsageEvent
from tenants import directory, store
from tenants.context import acting_for, acting_for_platform
from tenants.ids import uuid7
from tenants.models import Tenant

ANN, BOB = known_by("ann"), known_by("bob")


def watched(tenant) -> int:
    """How many leases the tenant has."""
    return sum(lease.parsed(name)[0] == tenant.id for name in store.client().zrange(lease.KEY, 0, -1))


def test_a_message_that_opens_no_turn_leaves_no_lease(acme):
    conversation, client_id = uuid4(), uuid4()
    with acting_for(acme):
        for _ in range(3):
            running.open_turn(conversation=conversation, visitor=ANN, client_id=client_id, text="Hello?")
        with pytest.raises(NoConversation):
            running.open_turn(conversation=conversation, visitor=BOB, client_id=uuid4(), text="Mine?")
        with pytest.raises(EmptyMessage):
            running.open_turn(conversation=conversation, visitor=ANN, client_id=uuid4(), text=" ")
    assert watched(acme) == 1


def _orphan(tenant):
    """A turn whose owner is gone, and which may not run again; its lease has lapsed."""
    with acting_for(tenant):
        opened = opening.open_turn(
            turn=uuid7(), conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?",
            version=publishing.live_version(),
        )  # fmt: skip
        recording.mark_written(opened.turn)
        store.client().zadd(lease.KEY, {lease.member(opened.turn, 1): 1})
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
    with acting_for(broken):
        store.client().zadd(lease.KEY, {lease.member(uuid7(), 1): 0})  # looked at first
    store.client().set(sweep.WHOLE_KEY, "1")
    if store_was_emptied:
        with acting_for(globex):
            Turn.objects.update(started_at=timezone.now() - timedelta(minutes=1))
        store.client().delete(lease.KEY, sweep.WHOLE_KEY)
        asyncio.run(sweep.sweep())  # finds it; nobody renews it
        with acting_for(globex):  # another test's process may have found it first, and may own it now
            store.client().zadd(lease.KEY, {lease.member(orphan, 1): 1})
    asyncio.run(sweep.sweep())
    with acting_for(globex):
        assert Turn.objects.get(pk=orphan).state == Turn.State.INTERRUPTED


def test_a_builders_trial_whose_owner_is_gone_goes_on_though_nothing_was_published(acme):
    with acting_for(acme):
        AgentConfig.objects.update(is_default=False)
        fresh = AgentConfig.objects.create(name="Fresh", instructions="Be kind.", model="openai/m", is_default=True)
        publishing.forget(acme.id)
        opened = running.open_turn(
            conversation=uuid4(), visitor=ANN, client_id=uuid4(), text="Hello?", channel="test",
            version=publishing.answering(fresh.pk, "test"),
        )  # fmt: skip
        recording.mark_written(opened.turn)
        limits.reserve(turn_id=opened.turn, conversation_id=opened.conversation, tokens=2_000)
        store.client().zadd(lease.KEY, {lease.member(opened.turn, 1): 1})
    store.client().set(sweep.WHOLE_KEY, "1")
    asyncio.run(sweep.sweep())
    with acting_for(acme):
        assert Turn.objects.get(pk=opened.turn).state == Turn.State.INTERRUPTED
        assert UsageEvent.objects.get().payload["model"] == "openai/m"
