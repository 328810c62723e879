"""No connection to PostgreSQL is left: visitors are told soon, and all is well as soon as there are some again."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import httpx
import psycopg
import pytest
from psycopg import sql

from tenants import databases
from tenants.context import TenantRef, acting_for_platform, run_for
from tests.agents.chatting import Browser, Chat
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
UNHURT_WITHIN = 2  # seconds; a lock is waited for longer
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


@contextmanager
def locked(tenant: TenantRef, provision: str, table: str) -> Iterator[None]:
    """Nobody can read the tenant's table inside."""
    with psycopg.connect(provision) as lock:
        lock.execute(sql.SQL("set search_path = {}").format(sql.Identifier(tenant.schema)))
        lock.execute(sql.SQL("set role {}").format(sql.Identifier(tenant.role)))
        lock.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(table)))
        yield


@asynccontextmanager
async def open_chats(tenant: TenantRef, port: int) -> AsyncIterator[list[Chat]]:
    """More of them than the process has connections."""
    await run_for(tenant, lambda: read_here(tenant, unheard_of(tenant, "The harbour museum costs 12 euro.")))
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Browser(tenant, port).socket()) for _ in range(ASKING)]


@pytest.mark.parametrize("pool_size", ["8", "4"])
async def test_questions_are_stored_though_their_searches_wait_for_a_locked_table(acme, provision, pool_size):
    """Searches go on beside the storing, and take connections from the same pool."""
    with web_process(DATABASE_POOL_SIZE=pool_size) as port:
        async with open_chats(acme, port) as chats:
            for chat in chats:
                await answered(chat, "Hello?")
            with locked(acme, provision, "knowledge_passage"):
                asking = [asyncio.create_task(answered(chat, "What does the museum cost?")) for chat in chats]
                await asyncio.sleep(LOCKED_SECONDS)
            for text in await asyncio.gather(*asking):
                assert "12 euro" in text


@pytest.mark.parametrize("table", ["knowledge_passage", "knowledge_knowledgebase"])
async def test_a_tenant_whose_table_is_locked_keeps_its_neighbours_from_nothing(acme, globex, provision, table):
    assert globex.alias == acme.alias
    with web_process() as port:
        async with open_chats(acme, port) as theirs, open_chats(globex, port) as chats:
            with locked(acme, provision, table):
                asking = [asyncio.create_task(answered(chat, "What does the museum cost?")) for chat in theirs]
                await asyncio.sleep(1)
                async with asyncio.timeout(UNHURT_WITHIN):
                    for text in await asyncio.gather(*(answered(chat, "What does the museum cost?") for chat in chats)):
                        assert "12 euro" in text
                assert not any(one.done() for one in asking)
            await asyncio.gather(*asking)


async def answered(chat: Chat, question: str) -> str:
    """The answer's text."""
    await chat.ask(question)
    finished = await chat.until("turn.finished")
    assert finished["outcome"] == "done"
    return finished["message"]["text"]
