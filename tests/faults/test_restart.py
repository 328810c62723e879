"""Web processes that share one address: they may be replaced or killed under running chats, and nobody is the worse."""

import asyncio
import os
import signal
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from django.conf import settings

from agents.conversations.models import Message, Turn
from platform_site.local import restart, web
from platform_site.local.processes import wait_until
from platform_site.local.supervisor import Supervisor
from platform_site.tasks import HEARTBEAT_KEY
from tenants.context import run_for
from tests.conftest import FULL
from tests.doubles import openai_server
from tests.faults import history
from tests.faults.restless import Restless
from tests.processes import NO_TLS

STORE = urlsplit(settings.REDIS_URL)._replace(path="/8").geturl()  # nobody else's process takes these turns over
COUNT, VISITORS = (2, 10) if FULL else (1, 4)


@pytest.fixture
def supervised(tmp_path, monkeypatch):
    """``supervised(2)``: (port, supervisor) of that many web processes, as `bin/up` runs them."""

    @contextmanager
    def run(count: int, **environment: str):
        address = web.bound(0)
        port = address.getsockname()[1]
        for name, value in (
            environment | {"REDIS_URL": STORE, "PUBLIC_PORT": str(port), "SOCKET_MESSAGES": "1000"}
        ).items():
            monkeypatch.setenv(name, value)
        supervisor, over, up = Supervisor(tmp_path), threading.Event(), threading.Event()

        def keep() -> None:  # one thread for all: its end is theirs
            for one in web.processes(tmp_path, count=count, address=address):
                supervisor.start(one)
            while not over.wait(0.05):
                supervisor.watch()
                restart.obey(supervisor)
                if not up.is_set() and all(one.ready() for one in supervisor.services):
                    up.set()
            supervisor.stop()

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            redis.Redis.from_url(STORE).set(HEARTBEAT_KEY, "1", ex=600)  # /readyz asks for a worker, too
            assert up.wait(60)
            yield port, supervisor
        finally:
            over.set()
            thread.join()
            address.close()

    return run


class Caller:
    """Asks for a page again and again, each time over a connection of its own."""

    def __init__(self, port: int):
        self.port, self.statuses = port, []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
                response = await client.get(f"http://127.0.0.1:{self.port}/readyz", timeout=20)
            self.statuses.append(response.status_code)
            await asyncio.sleep(0.02)


@pytest.mark.mass
async def test_a_rolling_restart_under_chats_loses_no_answer_and_no_request(acme, supervised):
    with openai_server() as provider:
        model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-x", "DEFAULT_MODEL": "openai/stand-in"}
        with supervised(COUNT, **model) as (port, supervisor):
            before = [one.process.pid for one in supervisor.services]
            visitors, asked, over = [Restless(acme, [port]) for _ in range(VISITORS)], [], asyncio.Event()
            caller = Caller(port)
            calling = asyncio.create_task(caller.run())

            async def chat(visitor: Restless) -> None:
                while not over.is_set():
                    asked.append(await visitor.ask("[[tokens=40]][[gap=0.02]]", most_events=1000))

            chatting = [asyncio.create_task(chat(visitor)) for visitor in visitors]
            while not all(visitor.begun for visitor in visitors):
                await asyncio.sleep(0.02)
            await asyncio.to_thread(restart.ask, supervisor.folder, is_running=lambda: True)
            over.set()
            await asyncio.gather(*chatting)
            calling.cancel()
            assert not set(before) & {one.process.pid for one in supervisor.services}
            if FULL:
                await one_is_killed_and_comes_back(port, supervisor)
    assert (len(asked) >= 2 * VISITORS, [one.faults for one in asked if one.faults]) == (True, [])
    assert (len(caller.statuses) > 10, set(caller.statuses)) == (True, {200})
    assert await run_for(acme, lambda: (Turn.objects.filter(state="done").count(), Turn.objects.count())) == (
        len(asked), len(asked)
    )  # fmt: skip
    assert await run_for(acme, Message.objects.count) == 2 * len(asked)
    for visitor in visitors:
        await history.check(acme, visitor.conversation, history.door("visitor", *visitor.chats))


async def one_is_killed_and_comes_back(port: int, supervisor: Supervisor) -> None:
    """Of two web processes; the other one answers meanwhile."""
    dying, other = supervisor.services
    killed = dying.process.pid
    os.kill(killed, signal.SIGKILL)
    assert await asyncio.to_thread(wait_until, lambda: dying.process.pid != killed, 15)
    assert not dying.ready()  # it has only begun to load
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        answers = [await client.get(f"http://127.0.0.1:{port}/readyz") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert await asyncio.to_thread(wait_until, dying.ready, 60)
    assert other.ready()
