"""No connection to PostgreSQL is left: visitors are told soon, and all is well as soon as there are some again."""

import asyncio
import os
import time
from contextlib import AsyncExitStack, contextmanager

import httpx
import psycopg
import pytest
from psycopg import sql

from tenants import databases
from tenants.context import acting_for_platform, run_for
from tests.agents.chatting import Browser
from tests.conftest import host_of, web_process
from tests.faults import history
from tests.knowledge.ingesting import read_here, unheard_of
from tests.processes import NO_TLS
from tests.tenants.moving import home_of

REFUSED_WITHIN, HEALED_WITHIN = 4, 15  # seconds; row R20 says 2 to refuse, on a machine that does nothing else
NAME = "starved"  # of the web process, at PostgreSQL
# Only those of one's own login may be ended; the tenant's database may have another one than the control plane
END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s and usename = current_user"
ASKING, LOCKED_SECONDS = 12, 6  # more than a web process has connections; longer than a lock is waited for
MOST = 1000  # far more than any server of the tests lets in


@pytest.fixture
def address(acme) -> str:
    """Of the tenant's database."""
    return databases.address(home_of(acme))


@pytest.fixture
def provision(acme) -> str:
    """Of the same for a login that may take the tenant's role."""
    with acting_for_platform("a test locks a table"):
        return databases.provision_address(home_of(acme))


@contextmanager
def no_connection_left(address: str):
    """Hold whatever the server gives, and end what the web process has."""
    held = [psycopg.connect(address, autocommit=True)]
    try:
        _take_all(held)
        for login in held[:2]:
            login.execute(END, [NAME])
        _take_all(held)
        yield
    finally:
        for connection in held:
            connection.close()


def _take_all(held: list[psycopg.Connection]) -> None:
    try:
        while len(held) < MOST:
            held.append(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True))
    except psycopg.OperationalError:
        return
    raise AssertionError("the server has no limit")


def page(tenant, port: int) -> tuple[int, float]:
    """(Status, seconds) of the chat's page."""
    began = time.monotonic()
    headers = {"host": f"{host_of(tenant)}:{port}"}
    response = httpx.get(f"http://127.0.0.1:{port}/chat/", headers=headers, timeout=30, verify=NO_TLS)
    return response.status_code, time.monotonic() - began


async def test_r20_without_a_free_connection_visitors_are_told_soon_and_served_again_afterwards(acme, address):
    with web_process(PGAPPNAME=NAME) as port:
        browser = Browser(acme, port)
        async with browser.socket() as chat:
            with no_connection_left(address):
                status, seconds = await asyncio.to_thread(page, acme, port)
                assert (status, seconds < REFUSED_WITHIN) == (503, True), seconds
            freed = time.monotonic()
            while (await asyncio.to_thread(page, acme, port))[0] != 200:
                assert time.monotonic() - freed < HEALED_WITHIN
            await chat.ask("Hello, who are you?")
            assert (await chat.until("turn.finished"))["outcome"] == "done"
        visitor = history.door("visitor", chat, is_whole=True)
        await history.check(acme, chat.ready["conversation"], visitor, await history.page(browser))


async def test_questions_are_stored_though_their_searches_wait_for_a_locked_table(acme, provision):
    """Searches go on beside the storing, and take connections from the same pool."""
    await run_for(acme, lambda: read_here(acme, unheard_of(acme, "The harbour museum costs 12 euro.")))
    with web_process() as port:
        async with AsyncExitStack() as stack:
            browsers = [Browser(acme, port, address=f"10.0.0.{n}") for n in range(ASKING)]
            chats = [await stack.enter_async_context(browser.socket()) for browser in browsers]
            for chat in chats:
                await chat.ask("Hello?")
                await chat.until("turn.finished")
            with psycopg.connect(provision) as lock:
                lock.execute(sql.SQL("set search_path = {}").format(sql.Identifier(acme.schema)))
                lock.execute(sql.SQL("set role {}").format(sql.Identifier(acme.role)))
                lock.execute("lock table knowledge_passage in access exclusive mode")
                asking = [asyncio.create_task(answered(chat, "What does the museum cost?")) for chat in chats]
                await asyncio.sleep(LOCKED_SECONDS)
            assert await asyncio.gather(*asking) == ["done"] * ASKING


async def answered(chat, question: str) -> str:
    await chat.ask(question)
    return (await chat.until("turn.finished"))["outcome"]
