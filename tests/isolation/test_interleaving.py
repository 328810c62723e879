"""Work of two tenants with equal primary keys, interleaved on threads, the event loop and pooled connections."""

import asyncio
import random

import pytest
from django.db import connections

from agents.conversations.models import EndUser
from tenants.context import acting_for, current, run_for
from tenants.ids import uuid7
from tests.threads import Threads

OPERATIONS = 1_000
ALONE = "select secret_hash from conversations_enduser where id = %(id)s"


@pytest.fixture
def twins(acme, globex):
    """Both tenants, each with a row of the same primary key and its own content."""
    shared = uuid7()
    for tenant in (acme, globex):
        with acting_for(tenant):
            EndUser.objects.create(id=shared, secret_hash=f"of {tenant.id}")
    return shared, acme, globex


def read(shared) -> str:
    """The content of the row, as the tenant at work sees it: in one of the two ways there are to ask."""
    if random.random() < 0.5:
        return EndUser.objects.get(pk=shared).secret_hash
    [(text,)] = connections[current().alias].alone(ALONE, {"id": shared})
    return text


async def test_a10_interleaved_on_the_event_loop_no_read_is_wrong(twins):
    shared, *tenants = twins
    order = [random.choice(tenants) for _ in range(OPERATIONS)]
    found = await asyncio.gather(*(run_for(tenant, read, shared) for tenant in order))
    assert [text for text, tenant in zip(found, order, strict=True) if text != f"of {tenant.id}"] == []


def test_a10_interleaved_on_threads_no_read_is_wrong(twins):
    shared, *tenants = twins

    def work(_) -> list[str]:
        wrong = []
        for _ in range(OPERATIONS // 8):
            tenant = random.choice(tenants)
            with acting_for(tenant):
                if (text := read(shared)) != f"of {tenant.id}":
                    wrong.append(text)
            if random.random() < 0.3:  # sometimes back into the pool, sometimes kept by the thread
                connections.close_all()
        return wrong

    with Threads(8) as threads:
        assert [wrong for found in threads.map(work, range(8)) for wrong in found] == []


def test_a10_alternating_on_one_connection_with_errors_in_between_no_read_is_wrong(twins):
    shared, *tenants = twins
    wrong = 0
    for number in range(OPERATIONS):
        tenant = tenants[number % 2]
        with acting_for(tenant):
            if number % 7 == 0:
                with pytest.raises(EndUser.DoesNotExist):
                    EndUser.objects.get(pk=uuid7())
            if number % 11 == 0:
                connections[tenant.alias].close()
            wrong += read(shared) != f"of {tenant.id}"
    assert wrong == 0


async def test_a9_cancelled_reads_leave_no_answer_for_the_next_one(twins):
    shared, *tenants = twins
    wrong = []

    async def one(number: int):
        tenant = tenants[number % 2]
        task = asyncio.create_task(run_for(tenant, read, shared))
        if number % 3 == 0:
            await asyncio.sleep(random.random() / 500)
            task.cancel()
        try:
            text = await task
        except asyncio.CancelledError:
            return
        if text != f"of {tenant.id}":
            wrong.append(number)

    await asyncio.gather(*(one(number) for number in range(OPERATIONS // 2)))
    assert wrong == []
