"""agents.turns.stream and mirror: who follows an answer of another process misses none of its words."""

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.utils import timezone

from agents import wire
from agents.conversations.visitors import known_by
from agents.turns import asking, mirror, radio, running, stream
from agents.turns.log import Log
from platform_site import ending
from tenants import store
from tenants.context import acting_for
from tenants.keys import system_key
from tests.faults.line import Line
from tests.metering.planned import put_on_plan

SLOW_SECONDS = 0.2  # of a round trip to Valkey, half each way


@pytest.fixture
async def slow(settings):
    """Valkey at the end of a slow line."""
    address = urlsplit(settings.REDIS_URL)
    line = Line(address.hostname, address.port)
    settings.REDIS_URL = address._replace(netloc=address.netloc.replace(str(address.port), str(line.port))).geturl()
    stream.begin()
    await radio.begin(lambda message: None)
    await store.aclient().ping()
    line.delay = SLOW_SECONDS / 2
    yield
    await stream.end()
    await radio.end()
    await store.aclient().aclose()
    line.cut()


def finished(log: Log) -> wire.TurnFinished:
    return wire.TurnFinished(seq=2, turn=log.turn, attempt=log.attempt, outcome="done", message=None)


async def never() -> None:
    """How the turn ended, by a database that does not know yet."""


async def text_heard(tenant, log: Log) -> str:
    """What a follower elsewhere is sent until the end."""
    events = [
        one async for many in mirror.follow(tenant, wire.Cursor(turn=log.turn, attempt=1, n=0), never) for one in many
    ]
    assert events[-1] == finished(log)
    return mirror.text_of(events)


async def test_a_process_that_is_to_end_writes_what_nobody_hears_as_if_it_were_heard(acme, slow, monkeypatch):
    """Its readers are about to follow from elsewhere."""
    log, now = Log(uuid4(), 1), asyncio.get_running_loop().time()
    source = stream.Source(acme, log, lambda: None)
    assert source.due() > now + stream.FLUSH_SECONDS * 2
    monkeypatch.setattr(ending, "_begun", True)
    assert source.due() < now + stream.FLUSH_SECONDS * 2


async def test_an_answer_that_ends_while_it_is_being_written_is_told_to_its_end(acme, slow):
    log = Log(uuid4(), 1)
    stream.publish(acme, log, lambda: None)
    hearing = asyncio.create_task(text_heard(acme, log))
    await asyncio.sleep(2 * SLOW_SECONDS)
    log.append(wire.Delta, text="Come on ")
    await asyncio.sleep(stream.UNHEARD_SECONDS + SLOW_SECONDS / 2)  # it is on its way
    log.append(wire.Delta, text="Wednesday.")
    log.end(finished(log))
    async with asyncio.timeout(10):
        assert await hearing == "Come on Wednesday."


async def test_an_answer_that_cannot_be_written_silences_no_other(acme, slow):
    broken, log = Log(uuid4(), 1), Log(uuid4(), 1)
    for one in (broken, log):
        stream.publish(acme, one, lambda: None)
    broken.append(wire.Delta, text="half a character: \ud83d")
    log.append(wire.Delta, text="Come on Wednesday.")
    log.end(finished(log))
    async with asyncio.timeout(10):
        assert await text_heard(acme, log) == "Come on Wednesday."


async def test_an_entry_that_does_not_open_is_passed_over_once_and_the_end_is_told_by_the_database(acme, slow, caplog):
    log = Log(uuid4(), 1)
    with acting_for(acme):
        key = stream.key_of(log.turn)
    await store.aclient().xadd(key, {"e": b"spoilt"}, id="1-1")

    async def ended() -> wire.TurnFinished:
        return finished(log)

    cursor = wire.Cursor(turn=log.turn, attempt=1, n=0)
    async with asyncio.timeout(10):
        assert [many async for many in mirror.follow(acme, cursor, ended)] == [[finished(log)]]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["turn stream not read"]


async def test_a_listener_that_has_been_replaced_does_not_silence_the_next(slow):
    channel, heard = system_key("turns", "a test"), asyncio.Queue()
    one, other = asyncio.Queue().put_nowait, heard.put_nowait
    await radio.tune_in(channel, one)
    await radio.tune_in(channel, other)
    await radio.tune_out(channel, one)
    await store.aclient().publish(channel, "Still there?")
    async with asyncio.timeout(10):
        assert await heard.get() == b"Still there?"


@pytest.fixture
def spent(acme):
    """A tenant that may use nothing more this hour."""
    put_on_plan(acme, tokens_per_hour=1)
    return acme


async def test_a_limited_visitor_is_told_what_and_until_when_also_where_that_is_over_at_once(spent):
    asked = await asking.start(
        spent, conversation=uuid4(), visitor=known_by("ann"), client_id=uuid4(), text="Hello?", begun=False
    )
    async with asyncio.timeout(10):
        while running.here():
            await asyncio.sleep(0.01)
    following = running.follow(spent, asked.conversation, wire.Cursor(turn=asked.turn, attempt=1, n=0))
    limited, ended = [event async for events in following for event in events]
    assert isinstance(limited, wire.Limited) and (limited.what, ended.outcome) == ("tokens_per_hour", "failed")
    assert limited.until > timezone.now() and "try again in about" in limited.text
