"""That usage waits for the ledger is said together with the settlement of its claim."""

from uuid import uuid4

import pytest

from metering import limits
from metering.outbox import pending
from tenants import store
from tenants.context import acting_for
from tenants.keys import redis_key


@pytest.fixture(autouse=True)
def _own_store(empty_store):
    """No relay takes a mark off meanwhile."""


def is_marked(tenant) -> bool:
    return bool(store.client().sismember(pending.MARKED, tenant.id))


@pytest.mark.parametrize("script", ["known to the server", "unknown"])
def test_a_settlement_announces_the_usage_of_its_tenant_alone(acme, globex, script):
    turn = uuid4()
    with acting_for(acme):
        limits.reserve(turn_id=turn, conversation_id=uuid4(), tokens=50)
        limits.settle(turn_id=turn, tokens=7)
        assert not is_marked(acme)  # nothing was to be announced
        limits.reserve(turn_id=(other := uuid4()), conversation_id=uuid4(), tokens=50)
        if script == "unknown":
            store.client().script_flush()
        limits.settle(turn_id=other, tokens=5, announce=True)
        assert int(store.client().hget(redis_key("lim"), "hour")) == 12
    assert is_marked(acme)
    assert not is_marked(globex)


def test_a_settlement_that_the_store_refuses_is_made_good_by_the_next_claim(acme):
    with acting_for(acme):
        limits.reserve(turn_id=(turn := uuid4()), conversation_id=uuid4(), tokens=50)
        store.client().set(pending.MARKED, "spoilt")
        limits.settle(turn_id=turn, tokens=7, announce=True)
        store.client().delete(pending.MARKED)
        limits.settle(turn_id=turn, tokens=7, announce=True)
        limits.reserve(turn_id=uuid4(), conversation_id=uuid4(), tokens=1)
    assert is_marked(acme)
