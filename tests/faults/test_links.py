"""Each link of a web process to a service becomes slow, silent or is reset under a chat, and then well again."""

import asyncio
import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from agents.conversations.models import Message
from tenants.context import run_for
from tests.agents.chatting import Browser
from tests.conftest import FULL, web_process
from tests.doubles import openai_server
from tests.faults import history
from tests.faults.line import Line, through
from tests.processes import NO_TLS

ANSWERED_WITHIN, HEALED_WITHIN = 45, 15  # seconds; rows R6 and R19
OUTCOMES = {"done", "failed", "incomplete"}
LINKS = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL", "vectors": "QDRANT_URL", "model": "OPENAI_BASE_URL"}
FAULTS = {
    "slow": lambda line: setattr(line, "delay", 0.5),  # each way, each block
    "silent": lambda line: setattr(line, "swallowing", True),
    "reset": Line.reset,
}
SHORT = [("postgres", "silent"), ("valkey", "silent"), ("model", "slow")]  # in every run


@pytest.fixture(scope="module")
def lines() -> Iterator[dict[str, Line]]:
    """A line to each service, by name."""
    with openai_server() as model:
        urls = os.environ | {"OPENAI_BASE_URL": model.url}
        made = {}
        for link, variable in LINKS.items():
            parts = urlsplit(urls[variable])
            made[link] = Line(parts.hostname, parts.port)
        yield made
        for line in made.values():
            line.cut()


@pytest.fixture(scope="module")
def port(lines) -> Iterator[int]:
    """A web process that reaches everything over the lines."""
    ways = {LINKS[link]: through(os.environ.get(LINKS[link], ""), line.port) for link, line in lines.items()}
    model = {"OPENAI_BASE_URL": f"http://127.0.0.1:{lines['model'].port}/v1", "OPENAI_API_KEY": "sk-stand-in"}
    with web_process(**(ways | model), DEFAULT_MODEL="openai/stand-in") as listening:
        yield listening


async def ask(chat, text: str) -> dict:
    """The turn's end, or the error that tells why the message was not taken."""
    client_id = await chat.ask(text)
    while True:
        event = await chat.next()
        if event["type"] == "turn.finished" or event["type"] == "error" and event["id"] == client_id:
            return event


def ready(port: int) -> int:
    return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30, verify=NO_TLS).status_code


@pytest.mark.parametrize("link, fault", [(link, fault) for link in LINKS for fault in FAULTS] if FULL else SHORT)
async def test_r19_a_bad_link_costs_a_bounded_time_and_heals(acme, lines, port, link, fault):
    browser = Browser(acme, port)
    async with browser.socket() as chat:
        assert (await ask(chat, "Well? [[tokens=2]]"))["outcome"] == "done"
        began = time.monotonic()
        FAULTS[fault](lines[link])
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                ended = await ask(chat, "Still there? [[tokens=2]]")
            if fault == "silent" and link != "model":
                assert await asyncio.to_thread(ready, port) == 503
        finally:
            lines[link].mend()
        assert ended.get("outcome") in OUTCOMES or ended["code"] != "internal_error", ended
        mended = time.monotonic()
        while (again := await ask(chat, "And now? [[tokens=2]]")).get("outcome") != "done":
            assert time.monotonic() - mended < HEALED_WITHIN, (again, mended - began)
            await asyncio.sleep(0.5)
    texts = await run_for(acme, lambda: [message.role for message in Message.objects.order_by("seq")])
    assert texts.count("user") >= 2
    await history.check(acme, chat.ready["conversation"], history.door("visitor", chat), await history.page(browser))
