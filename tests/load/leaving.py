"""Gentler ends than tests/load/killing.py has: processes told to end, sockets that drop, messages sent twice, stops."""

import asyncio
import os
import random
import signal
import statistics
import time
from contextlib import ExitStack
from uuid import uuid4

from agents.conversations.models import Turn
from tenants.context import run_for
from tests.agents.chatting import Browser
from tests.load.survivors import Moving, Series, Timed, spread, started
from tests.processes import process_of

DRAINED = 50  # turns that run in a process that is told to end
LONG = "[[tokens=400]][[gap=0.02]]"  # longer than their sockets may stay
USUAL_SECONDS = 1  # to see how often text comes anyway
DROPPING = 20  # visitors at a time whose sockets drop
STOPS = "[[tokens=400]][[gap=0.02]]"


async def drains(tenant, provider, survivor: int, count: int) -> list[str]:
    """SIGTERM to a process under fifty answers: it finishes them, and their readers go on at the other."""
    series, gaps, usual = Series(tenant, f"process told to end under {DRAINED} answers"), [], []
    for _ in range(count):
        with ExitStack() as stack:
            ending = await asyncio.to_thread(started, stack, provider)
            process = process_of(ending)
            visitors = [Moving(tenant, [ending]) for _ in range(DRAINED)]
            asking = [asyncio.create_task(series.answered(one, LONG, most_events=10_000)) for one in visitors]
            while not all(one.begun for one in visitors):
                await asyncio.sleep(0.02)
            await asyncio.sleep(USUAL_SECONDS)
            for one in visitors:
                one.ports = [survivor]
                one.hit()
            os.kill(process, signal.SIGTERM)
            await asyncio.gather(*asking)
            gaps += [one.gap for one in visitors if one.gap is not None]
            usual += [seconds for one in visitors for seconds in one.usual]
    wrong = await series.ended(count)
    if gaps:
        print(f"between the last words over the old socket and the next over another: {spread(gaps)}")
        print(f"between two pieces of these texts before: median {statistics.median(usual):.2f} s", flush=True)
    return wrong


async def drops(tenant, ports: list[int], count: int) -> list[str]:
    """Short answers over sockets that drop after a few events, and return to either process."""
    series = Series(tenant, "answers over sockets that drop")

    async def chat(visitor: Timed) -> None:
        for _ in range(count // DROPPING):
            text = f"[[tokens={random.randint(1, 30)}]][[gap=0.01]]"
            await series.answered(visitor, text, most_events=12)

    await asyncio.gather(*(chat(Timed(tenant, ports)) for _ in range(min(DROPPING, count))))
    return await series.ended(count)


async def double_sends(tenant, ports: list[int], count: int) -> list[str]:
    """Each message goes to both processes at once, under one client id."""
    if not count:
        return []
    before, began = await run_for(tenant, Turn.objects.count), time.monotonic()
    hello = {"conversation": str(uuid4()), "seq": 0}
    one, other = (Browser(tenant, port) for port in ports)
    await one.ticket()
    other.cookies = one.cookies
    named: set[str] = set()
    async with one.socket(hello=hello) as first, other.socket(hello=hello) as second:
        for _ in range(count):
            client_id = str(uuid4())
            await asyncio.gather(*(chat.ask("[[tokens=1]]", client_id=client_id) for chat in (first, second)))
            for chat in (first, second):
                named.add(turn := await accepted(chat, client_id))
                while (await chat.until("turn.finished"))["turn"] != turn:
                    pass
    made = await run_for(tenant, Turn.objects.count) - before
    print(
        f"{count} messages sent to both processes, {time.monotonic() - began:.0f} s: {made} turns, {len(named)} named",
        flush=True,
    )
    return [] if made == len(named) == count else [f"{count} double sends made {made} turns and named {len(named)}"]


async def accepted(chat, client_id: str) -> str:
    """The turn that a message was given."""
    while (event := await chat.until("accepted"))["id"] != client_id:
        pass
    return event["turn"]


async def stops(tenant, ports: list[int], count: int) -> list[str]:
    """An answer of one process is stopped over a socket of the other: ms until that socket hears its end."""
    took: list[float] = []
    wrong: list[str] = []
    for _ in range(count):
        browser = Browser(tenant, ports[0])
        async with browser.socket() as chat:
            await chat.ask(STOPS)
            delta = await chat.until("delta")
            browser.port = ports[1]
            async with browser.socket(hello={"conversation": chat.ready["conversation"], "seq": 1}) as other:
                await other.until("delta")
                began = time.monotonic()
                await other.send({"type": "stop", "turn": delta["turn"]})
                finished = await other.until("turn.finished")
                took.append((time.monotonic() - began) * 1000)
        if finished["outcome"] != "stopped" or not finished["message"]["text"]:
            wrong.append(f"stopped, but {finished['outcome']}")
    if took:
        print(
            f"{count} answers stopped from the other process: median {statistics.median(took):.0f} ms, "
            f"most {max(took):.0f} ms; wrong: {len(wrong)}",
            flush=True,
        )
    return wrong
