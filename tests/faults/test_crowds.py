"""A service that swallows every question, under a crowd of one tenant's visitors."""

import asyncio
import os
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from tenants.context import run_for
from tests.agents.chatting import Browser
from tests.conftest import web_process
from tests.faults.line import Line, through
from tests.knowledge.ingesting import read_here, unheard_of

CROWD = 24  # more than there are threads, for a database and beside
QUESTION = "What does the harbour museum cost?"
STORED_WITHIN, ANSWERED_WITHIN, HEALED_WITHIN = 2, 10, 15  # seconds


def line_to(variable: str) -> Line:
    parts = urlsplit(os.environ[variable])
    return Line(parts.hostname, parts.port)


async def visitors(stack: AsyncExitStack, port: int, *tenants) -> list:
    return [await stack.enter_async_context(Browser(tenant, port).socket()) for tenant in tenants]


async def answer(chat, question: str = QUESTION, *, stored_within: float = ANSWERED_WITHIN) -> str:
    await chat.ask(question)
    async with asyncio.timeout(stored_within):
        await chat.until("accepted")
    async with asyncio.timeout(ANSWERED_WITHIN):
        return (await chat.until("turn.finished"))["message"]["text"]


async def test_r19_a_silent_vector_store_costs_its_askers_seconds_and_nobody_elses_question_waits(acme, globex):
    line = line_to("QDRANT_URL")
    await run_for(acme, lambda: read_here(acme, unheard_of(acme, "The harbour museum costs 12 euro.")))
    async with AsyncExitStack() as stack:
        port = stack.enter_context(web_process(QDRANT_URL=through(os.environ["QDRANT_URL"], line.port)))
        other, *crowd = await visitors(stack, port, globex, *[acme] * CROWD)
        assert "12 euro" in await answer(crowd[0])
        await answer(other, "Hello?")
        line.swallowing = True
        asking = asyncio.gather(*map(answer, crowd))
        await asyncio.sleep(0.5)  # by then they hold what they can hold
        await answer(other, "Hello?", stored_within=STORED_WITHIN)
        assert all("cannot look into our documents" in told for told in await asking)
        line.mend()
        async with asyncio.timeout(HEALED_WITHIN):
            while "12 euro" not in await answer(crowd[0]):
                await asyncio.sleep(0.5)
    line.cut()


async def test_r19_a_silent_valkey_is_waited_for_once_and_not_by_each_command(acme, globex):
    line = line_to("REDIS_URL")
    async with AsyncExitStack() as stack:
        port = stack.enter_context(web_process(REDIS_URL=through(os.environ["REDIS_URL"], line.port)))
        other, *crowd = await visitors(stack, port, globex, *[acme] * CROWD)
        await asyncio.gather(answer(crowd[0]), answer(other))
        line.swallowing = True
        await asyncio.gather(*map(answer, crowd), answer(other))
        await answer(other, stored_within=STORED_WITHIN)
        line.mend()
        await asyncio.gather(*map(answer, crowd), answer(other))
    line.cut()
