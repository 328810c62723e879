"""PostgreSQL has no connection left: visitors are told soon, and all is well as soon as there are some again."""

import asyncio
import os
import time
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from tenants import databases
from tests.agents.chatting import Browser
from tests.conftest import host_of, web_process
from tests.faults import history
from tests.processes import NO_TLS
from tests.tenants.moving import home_of

REFUSED_WITHIN, HEALED_WITHIN = 4, 15  # seconds; row R20 says 2 to refuse, on a machine that does nothing else
NAME = "starved"  # of the web process, at PostgreSQL
# Only those of one's own login may be ended; the tenant's database may have another one than the control plane
END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s and usename = current_user"
MOST = 1000  # far more than any server of the tests lets in


@pytest.fixture
def address(acme) -> str:
    """Of the tenant's database."""
    return databases.address(home_of(acme))


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
