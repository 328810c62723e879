"""Web processes killed under running turns: ``python -m tests.load.kills [--kills 50] [--flushes 20]``.

Each time ten visitors ask at one process, which is killed (kill -9) after their first words; they go on at the other.
Prints how long until new text, and whether every answer was stored once with one usage row for each attempt. Then
the same with Valkey flushed in the middle of the answers. Exit status 1 if anything was lost or doubled.
"""

import argparse
import asyncio
import io
import logging
import os
import random
import signal
import statistics
import sys
import time
from contextlib import ExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

import redis  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from tenants import provisioning  # noqa: E402
from tenants.context import run_for  # noqa: E402
from tests.conftest import web_process  # noqa: E402
from tests.doubles import openai_server  # noqa: E402
from tests.faults.restless import Restless, Seen  # noqa: E402
from tests.faults.test_processes import process_of, stored  # noqa: E402

VISITORS = 10
QUESTION = "[[tokens=150]][[gap=0.02]]"
STORE = urlsplit(settings.REDIS_URL)._replace(path="/9").geturl()


class Timed(Restless):
    """A visitor who notes when text came after its process was killed."""

    killed_at = 0.0
    waited: float | None = None

    def took(self, seen: Seen) -> None:
        if self.killed_at and self.waited is None and (seen.attempt > 1 or seen.finished):
            self.waited = time.monotonic() - self.killed_at


def main() -> int:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--flushes", type=int, default=20)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    call_command("deploy", stdout=io.StringIO())
    slug = f"load-{uuid4().hex[:8]}"
    row = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark")
    with openai_server() as provider:
        wrong = asyncio.run(kills(row.ref(), provider, options.kills))
        wrong += asyncio.run(flushes(row.ref(), provider, options.flushes))
    for fault in wrong[:20]:
        print(fault)
    return 1 if wrong else 0


def started(stack: ExitStack, provider) -> int:
    model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in"}
    return stack.enter_context(web_process(REDIS_URL=STORE, TURN_CAP="200", SOCKETS_PER_ADDRESS="1000", **model))


async def kills(tenant, provider, count: int) -> list[str]:
    """Faults found over so many kills."""
    wrong, waits, attempts = [], [], []
    with ExitStack() as stack:
        survivor = started(stack, provider)
        for _ in range(count):
            dying = await asyncio.to_thread(started, stack, provider)
            visitors = [Timed(tenant, [dying]) for _ in range(VISITORS)]
            asking = [asyncio.create_task(one.ask(QUESTION, most_events=10_000)) for one in visitors]
            while not all(one.begun for one in visitors):
                await asyncio.sleep(0.02)
            for one in visitors:
                one.ports, one.killed_at = [survivor], time.monotonic()
            os.kill(process_of(dying), signal.SIGKILL)
            seen = await asyncio.gather(*asking)
            waits += [one.waited for one in visitors if one.waited is not None]
            attempts += await check(tenant, seen, wrong)
    print(f"{count} kills under {VISITORS} turns: {attempts.count(2)} begun again, {attempts.count(1)} had ended")
    p99 = statistics.quantiles(waits, n=100, method="inclusive")[98]
    print(f"time to new text: median {statistics.median(waits):.1f} s, p99 {p99:.1f} s (target 8)")
    print(f"lost, doubled or wrong: {len(wrong)}")
    return wrong


async def flushes(tenant, provider, count: int) -> list[str]:
    """Faults found over so many flushes of the store in the middle of answers."""
    wrong: list[str] = []
    with ExitStack() as stack:
        ports = [started(stack, provider) for _ in range(2)]
        for _ in range(count):
            visitors = [Restless(tenant, ports) for _ in range(VISITORS)]
            asking = [asyncio.create_task(one.ask(QUESTION, most_events=60)) for one in visitors]
            await asyncio.sleep(random.uniform(0.2, 2))
            redis.Redis.from_url(STORE).flushdb()
            await check(tenant, await asyncio.gather(*asking), wrong)
    print(f"{count} flushes of Valkey under {VISITORS} turns; lost, doubled or wrong: {len(wrong)}")
    return wrong


async def check(tenant, seen: list[Seen], wrong: list[str]) -> list[int]:
    """The attempt that each answer is of; what is not as it should be goes to ``wrong``."""
    attempts = []
    for one in seen:
        state, attempt, texts, uses = await run_for(tenant, stored, one.turn)
        if one.faults or state != "done" or texts != [one.text] or uses != list(range(1, attempt + 1)):
            wrong.append(f"{one.faults} {state} {attempt} {uses} {len(texts)} texts, {len(one.text.split())} words")
        attempts.append(attempt)
    return attempts


if __name__ == "__main__":
    sys.exit(main())
