"""A tenant is paused while its visitors chat: their sockets, at real web processes."""

import asyncio
import time
from functools import partial

import pytest
import websockets

from agents import open_sockets
from agents.consumers import CLOSE_PAUSED
from agents.conversations.models import Message
from tenants import lifecycle
from tenants.context import acting_for_platform, run_for, run_for_nobody
from tenants.models import Tenant
from tests.agents.chatting import Browser
from tests.conftest import host_of, web_process

MOST_SECONDS = 5


async def turn(acme, verb, **how) -> None:
    """Pause or resume, from another process than the web processes."""

    def work():
        with acting_for_platform("a test"):
            verb(Tenant.objects.get(pk=acme.id), by="a test", **how)

    await run_for_nobody(work)


pause = partial(turn, verb=lifecycle.suspend, reason="a test")


async def closed(chat) -> float:
    """Wait for the end of a socket; the moment it came."""
    with pytest.raises(websockets.ConnectionClosed) as ended:
        while True:
            await chat.next()
    assert ended.value.rcvd.code == CLOSE_PAUSED
    assert chat.events[-1]["code"] == "tenant_paused"
    return time.monotonic()


async def opened(browser) -> None:
    """Wait until the tenant's page is there again."""
    async with asyncio.timeout(2 * MOST_SECONDS):
        while (await browser.request("GET", "/chat/")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_open_sockets_of_all_processes_close_within_five_seconds(acme, globex, server):
    with web_process() as other_port:
        here, there, stranger = Browser(acme, server), Browser(acme, other_port), Browser(globex, server)
        async with here.socket() as one, there.socket() as two, stranger.socket() as three:
            started = time.monotonic()
            await pause(acme)
            ends = await asyncio.gather(closed(one), closed(two))
            assert max(ends) - started < MOST_SECONDS
            await three.ask("Hello?")
            assert (await three.until("turn.finished"))["outcome"] == "done"


async def test_a_paused_tenants_page_and_hello_are_refused_until_it_goes_on(acme, server):
    browser = Browser(acme, server)
    async with browser.socket() as chat:
        await pause(acme)
        await closed(chat)
    assert (await browser.request("GET", "/chat/")).status_code == 503
    async with browser.socket(say_hello=False) as chat:
        await chat.send({"type": "hello", "ticket": "x" * 30})
        await closed(chat)
    assert await run_for(acme, Message.objects.count) == 0
    await turn(acme, lifecycle.resume)
    await opened(browser)
    async with browser.socket() as chat:
        await chat.ask("Hello?")
        assert (await chat.until("turn.finished"))["outcome"] == "done"


class Deaf:
    """A socket that never gets rid of what it is told, because its peer reads nothing."""

    def __init__(self, tenant):
        self.scope = {"host": host_of(tenant)}

    async def pause(self, error):
        await asyncio.Event().wait()


async def test_h3_a_socket_that_reads_nothing_does_not_keep_those_of_paused_tenants_open(acme, monkeypatch):
    monkeypatch.setattr(open_sockets, "TELL_SECONDS", 0.05)
    deaf = Deaf(acme)
    open_sockets.enter(acme.id, deaf)
    await pause(acme)
    await asyncio.wait_for(open_sockets.close_refused(), 5)
    open_sockets.leave(acme.id, deaf)
