"""metering.limits: what becomes of those who wait for the counters to be filled."""

from threading import Barrier
from uuid import uuid4

from django.db import connections

from metering import clock, limits, plans
from tenants import store
from tenants.context import acting_for
from tenants.keys import redis_key
from tests.conftest import until
from tests.metering.planned import put_on_plan
from tests.threads import Threads


def test_whoever_fills_the_counters_gets_a_connection_though_those_who_wait_had_all(acme):
    size = connections["default"].settings_dict["OPTIONS"]["pool"]["max_size"]
    put_on_plan(acme, sessions=2 * size)
    together = Barrier(size + 1)

    def claim(number: int) -> limits.Reservation:
        with acting_for(acme):
            plans.allowances()
            clock.month()  # both are known from now on: what is left to ask for is the ledger
            connections["default"].close()
            if number:
                connections["default"].ensure_connection()
            together.wait(10)
            if number:  # the one without a connection is to fill
                until(lambda: store.client().exists(redis_key("lim")))
            return limits.reserve(turn_id=uuid4(), conversation_id=uuid4(), tokens=1)

    with acting_for(acme):
        store.client().delete(redis_key("lim"))
    connections.close_all()
    with Threads(size + 1) as threads:
        assert all(one.held for one in threads.map(claim, range(size + 1)))
