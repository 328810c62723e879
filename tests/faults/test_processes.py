"""Turns and several web processes: any may be left, asked, drained or killed, and no answer is lost or doubled."""

import asyncio
import json
import os
import random
import signal
import time
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import redis
import websockets
from django.conf import settings

from agents.conversations.models import Message, Turn
from metering.outbox.models import UsageEvent
from tenants.accounts import keys
from tenants.context import run_for
from tests.agents.chatting import Browser
from tests.conftest import host_of, repeats, web_process
from tests.doubles import openai_server
from tests.faults.restless import Restless
from tests.processes import NO_TLS, process_of

# a Valkey database of their own: any web process may take a turn over, also one with another model
STORE = urlsplit(settings.REDIS_URL)._replace(path="/9").geturl()


@pytest.fixture(scope="module")
def provider():
    """The model's stand-in."""
    with openai_server() as server:
        yield server


@contextmanager
def processes(provider, count: int, **environment):
    """Ports of web processes that share everything."""
    model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in"}
    with ExitStack() as stack:
        yield [stack.enter_context(web_process(REDIS_URL=STORE, **model, **environment)) for _ in range(count)]


@pytest.fixture(scope="module")
def two(provider):
    """Two web processes."""
    with processes(provider, 2) as ports:
        yield ports


def stored(turn: str):
    """(State, attempt, the answers' texts, the attempts that usage was recorded for) of a turn."""
    row = Turn.objects.get(pk=UUID(turn))
    texts = [message.text for message in Message.objects.filter(turn_id=row.pk, role="agent")]
    events = UsageEvent.objects.all()
    attempts = sorted(event.payload["attempt"] for event in events if event.payload["turn_id"] == str(row.pk))
    return row.state, row.attempt, texts, attempts


@pytest.mark.mass
async def test_r11_sockets_that_return_to_a_random_process_lose_double_and_reorder_nothing(acme, two):
    visitors = [Restless(acme, two) for _ in range(10)]

    async def ask(visitor: Restless) -> list:
        return [await visitor.ask(f"[[tokens={random.randint(1, 30)}]][[gap=0.01]]") for _ in range(each)]

    each = max(1, repeats(2000) // len(visitors))
    seen = [one for many in await asyncio.gather(*map(ask, visitors)) for one in many]
    assert [one.faults for one in seen if one.faults] == []
    counts = await run_for(acme, lambda: (Turn.objects.count(), Message.objects.count()))
    assert counts == (len(seen), 2 * len(seen))


async def test_an_answer_is_followed_and_stopped_from_another_process(acme, two):
    browser = Browser(acme, two[0])
    async with browser.socket() as chat:
        await chat.ask("[[tokens=400]][[gap=0.02]]")
        delta = await chat.until("delta")
        browser.port = two[1]
        hello = {"conversation": chat.ready["conversation"], "seq": 1}
        async with browser.socket(hello=hello | {"turn": {"turn": delta["turn"], "attempt": 1, "n": 0}}) as other:
            await other.until("delta")
            began = time.monotonic()
            await other.send({"type": "stop", "turn": delta["turn"]})
            finished = await other.until("turn.finished")
            seconds = time.monotonic() - began
        await chat.until("turn.finished")
    assert (finished["outcome"], seconds < 3) == ("stopped", True)
    text = finished["message"]["text"]
    assert text.startswith(other.text_of(delta["turn"])) and chat.text_of(delta["turn"]) == text
    assert (await run_for(acme, stored, delta["turn"]))[0] == "stopped"


async def test_a_stranger_cannot_stop_an_answer_in_another_process(acme, globex, two):
    browser = Browser(acme, two[0])
    async with browser.socket() as chat:
        await chat.ask("[[tokens=60]][[gap=0.02]]")
        delta = await chat.until("delta")
        for stranger in (Browser(acme, two[1]), Browser(globex, two[1])):
            async with stranger.socket() as other:
                await other.ask("[[tokens=1]]")
                await other.until("turn.finished")
                await other.send({"type": "stop", "turn": delta["turn"]})
                await other.send({"type": "history", "before": 1})
                await other.until("history")
        assert (await chat.until("turn.finished"))["outcome"] == "done"


async def test_a_question_at_another_process_waits_for_the_answer_before_it(acme, two, provider):
    browser = Browser(acme, two[0])
    async with browser.socket() as chat:
        await chat.ask("First. [[tokens=40]][[gap=0.02]]")
        await chat.until("delta")
        browser.port = two[1]
        async with browser.socket(hello={"conversation": chat.ready["conversation"], "seq": 1}) as other:
            await other.ask("Second. [[tokens=2]]")
            accepted = await other.until("accepted")
            while (await other.until("turn.finished"))["turn"] != accepted["turn"]:
                pass
        first = await chat.until("turn.finished")
    messages = provider.last_request("Second. [[tokens=2]]").body["messages"]
    assert {"role": "assistant", "content": first["message"]["text"]} in messages


@pytest.mark.mass
async def test_r10_one_message_sent_to_both_processes_is_one_turn(acme, two):
    hello = {"conversation": str(uuid4()), "seq": 0}
    one, other = Browser(acme, two[0]), Browser(acme, two[1])
    await one.ticket()
    other.cookies = one.cookies
    async with one.socket(hello=hello) as first, other.socket(hello=hello) as second:
        for _ in range(repeats(500)):
            client_id = str(uuid4())
            await asyncio.gather(
                first.ask("[[tokens=1]]", client_id=client_id), second.ask("[[tokens=1]]", client_id=client_id)
            )
            turns = {(await chat.until("accepted"))["turn"] for chat in (first, second)}
            assert len(turns) == 1
            for chat in (first, second):
                while (await chat.until("turn.finished"))["turn"] not in turns:
                    pass
    assert await run_for(acme, Turn.objects.count) == repeats(500)


async def test_a_programs_stream_goes_on_at_another_process(acme, two):
    _, key = await run_for(acme, keys.create, name="test", scopes=["conversations:write"], by="a test")
    headers = {"host": host_of(acme), "authorization": f"Bearer {key}"}
    body, seen = {"id": str(uuid4()), "text": "[[tokens=60]][[gap=0.02]]"}, []
    async with httpx.AsyncClient(verify=NO_TLS, headers=headers, timeout=20) as client:
        made = await client.post(f"http://127.0.0.1:{two[0]}/api/v1/conversations/", json={"end_user": "7"})
        path = f"/api/v1/conversations/{made.json()['id']}/messages/"
        for port in two:
            asked = {"accept": "text/event-stream"} | ({"last-event-id": seen[-1][0]} if seen else {})
            async with client.stream("POST", f"http://127.0.0.1:{port}{path}", json=body, headers=asked) as stream:
                async for event in _sent(stream):
                    seen.append(event)
                    if port == two[0] and event[1]["type"] == "delta":
                        break
    events = [event for _, event in seen]
    assert [event["type"] for event in events[:2]] == ["accepted", "delta"]
    assert {event["type"] for event in events[2:-1]} == {"delta"} and events[-1]["type"] == "turn.finished"
    assert "".join(event["text"] for event in events[1:-1]) == events[-1]["message"]["text"]


async def _sent(stream: httpx.Response):
    """(Id, event) of each block."""
    identifier = ""
    async for line in stream.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            identifier = value
        elif name == "data":
            yield identifier, json.loads(value)


@contextmanager
def leaving(tenant, ports: list[int], text: str, visitors: int):
    """Visitors who ask at the first process, and after their first words return only to the others."""
    there = [Restless(tenant, ports[:1]) for _ in range(visitors)]
    asking = [asyncio.create_task(one.ask(text, most_events=1000)) for one in there]

    async def leave(sign: signal.Signals) -> list:
        while not all(one.begun for one in there):
            await asyncio.sleep(0.02)
        for one in there:
            one.ports = ports[1:]
        os.kill(process_of(ports[0]), sign)
        return await asyncio.gather(*asking)

    yield leave


async def test_r13_a_process_that_is_told_to_end_finishes_its_answers_and_loses_nobody(acme, provider, two):
    with processes(provider, 1) as [ending], leaving(acme, [ending, *two], "[[tokens=60]][[gap=0.02]]", 5) as leave:
        seen = await leave(signal.SIGTERM)
    for one in seen:
        assert (one.faults, len(one.text.split())) == ([], 60)
        assert (await run_for(acme, stored, one.turn))[:2] == ("done", 1)


async def test_a_process_that_leaves_brings_the_text_until_its_sockets_have_moved(acme, provider, two):
    with processes(provider, 1) as [ending]:
        browser, idle, deaf = (Browser(acme, ending) for _ in range(3))
        async with browser.socket() as chat, idle.socket() as silent, deaf.socket() as staying:
            for one in (chat, staying):
                await one.ask("[[tokens=250]][[gap=0.02]]")
                await one.until("delta")
            os.kill(process_of(ending), signal.SIGTERM)
            assert (await silent.next())["type"] == "leaving" and await closed(silent) == 1012
            ticket = (await chat.until("leaving"))["ticket"]
            delta = await chat.until("delta")
            browser.port = two[0]
            async with browser.socket(say_hello=False) as other:
                place = {key: delta[key] for key in ("turn", "attempt", "n")}
                here = {"conversation": chat.ready["conversation"], "seq": 1, "turn": place}
                await other.send({"type": "hello", "ticket": ticket, **here})
                finished = await other.until("turn.finished")
            assert await closed(staying) == 1012  # and goes on to the end
        assert chat.text_of(delta["turn"]) + other.text_of(delta["turn"]) == finished["message"]["text"]


async def test_who_has_the_last_place_may_take_it_along(acme, provider):
    with processes(provider, 2, SOCKETS_PER_TENANT="1") as [ending, next_one]:
        browser = Browser(acme, ending)
        async with browser.socket() as chat:
            await chat.ask("[[tokens=100]][[gap=0.02]]")
            await chat.until("delta")
            os.kill(process_of(ending), signal.SIGTERM)
            ticket = (await chat.until("leaving"))["ticket"]
            browser.port = next_one
            async with browser.socket(say_hello=False) as other:
                await other.send(
                    {"type": "hello", "ticket": ticket, "conversation": chat.ready["conversation"], "seq": 1}
                )
                assert (await other.until("turn.finished"))["outcome"] == "done"


async def closed(chat) -> int:
    """Read until the socket is closed; the code."""
    with pytest.raises(websockets.ConnectionClosed):
        while True:
            await chat.next()
    return chat.raw.close_code


async def test_answers_that_outlast_the_drain_are_begun_again_elsewhere_at_once(acme, provider, two):
    text = "[[tokens=250]][[gap=0.02]]"
    with processes(provider, 1, TURN_DRAIN_SECONDS="0.2") as [ending], leaving(acme, [ending, *two], text, 1) as leave:
        [seen] = await leave(signal.SIGTERM)
    assert (seen.faults, len(seen.text.split())) == ([], 250)
    state, attempt, texts, uses = await run_for(acme, stored, seen.turn)
    assert (state, attempt, texts, uses) == ("done", 2, [seen.text], [1, 2])


async def test_r1_answers_of_a_killed_process_are_given_by_another(acme, provider, two):
    with processes(provider, 1) as [dying], leaving(acme, [dying, *two], "[[tokens=100]][[gap=0.02]]", 5) as leave:
        seen = await leave(signal.SIGKILL)
    for one in seen:
        state, attempt, texts, uses = await run_for(acme, stored, one.turn)
        assert (one.faults, state, attempt, texts, uses) == ([], "done", 2, [one.text], [1, 2])


async def test_r3_a_store_that_is_emptied_or_away_stops_no_answer(acme, two):
    visitors = [Restless(acme, two) for _ in range(4)]
    asking = [asyncio.create_task(one.ask("[[tokens=80]][[gap=0.02]]", most_events=40)) for one in visitors]
    for _ in range(3):
        await asyncio.sleep(0.4)
        redis.Redis.from_url(STORE).flushdb()
    seen = await asyncio.gather(*asking)
    assert [(one.faults, len(one.text.split())) for one in seen] == [([], 80)] * 4
