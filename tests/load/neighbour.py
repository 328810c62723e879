"""What a quiet tenant notices of another's flood: ``python -m tests.load.neighbour [--turns 200] [--flood 100]``.

Needs the services in the environment, as tests do. Starts a stand-in for the model (50 ms to the first token, 10 ms
between tokens, 64 tokens) and a web process. Tenant B chats over 5 sockets, one question after the other on each; then
again while tenant A asks over 100 sockets as fast as it is answered, and a second after it was refused.
Prints B's times to the first token in both cases, their ratio, and the same with places for all (TURN_CAP far off).
"""

import argparse
import asyncio
import io
import json
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median, quantiles
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from tenants import provisioning  # noqa: E402
from tenants.context import TenantRef  # noqa: E402
from tests.agents.chatting import Browser  # noqa: E402
from tests.load.chat_turn import ready, stand_in, web_process  # noqa: E402

QUIET_SOCKETS = 5
TARGET = 1.25  # B's p95 beside a flood, by its p95 alone
FAR_OFF = "100000"
QUESTION = "Hello there, what do you do? [[first=0.05]][[gap=0.01]][[tokens=64]]"
REFUSED_SECONDS = 1


def main() -> int:
    """Measure and print; 1 if the ratio is beyond the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200, help="of the quiet tenant, in each case")
    parser.add_argument("--flood", type=int, default=100, help="sockets of the other one")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    call_command("deploy", stdout=io.StringIO())
    noisy, quiet = make_tenant("noisy"), make_tenant("quiet")
    with stand_in() as url:
        fair = asyncio.run(measure(url, noisy, quiet, options))
        asyncio.run(measure(url, noisy, quiet, options, TURN_CAP=FAR_OFF))
    return 0 if fair <= TARGET else 1


def make_tenant(name: str) -> TenantRef:
    slug = f"{name}-{uuid4().hex[:8]}"
    return provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark").ref()


async def measure(url: str, noisy: TenantRef, quiet: TenantRef, options, **environment: str) -> float:
    """One web process: B alone, then beside A. The ratio of B's p95."""
    environment |= {"SOCKETS_PER_ADDRESS": "1000", "SOCKET_MESSAGES": "100000"}
    with web_process(url, **environment) as (port, _):
        await ready(port)
        await chat(quiet, port, 10 * QUIET_SOCKETS)  # fills the caches
        alone = await chat(quiet, port, options.turns)
        with flooding(noisy, port, options.flood) as outcomes:
            beside = await chat(quiet, port, options.turns)
    ratio = p95(beside) / p95(alone)
    print(f"\nTURN_CAP {environment.get('TURN_CAP', 'as it is')}, load of the machine {os.getloadavg()[0]:.1f}")
    print(f"  B alone     {described(alone)}")
    print(f"  B beside A  {described(beside)}, ratio of p95 {ratio:.2f} (target {TARGET})")
    print(f"  A meanwhile {dict(outcomes)}")
    return ratio


async def chat(tenant: TenantRef, port: int, turns: int) -> list[float]:
    """Milliseconds to the first token of that many turns, over a few sockets."""

    async def one() -> list[float]:
        async with Browser(tenant, port).socket() as socket:
            return [(await first_token_ms(socket.raw))[0] for _ in range(turns // QUIET_SOCKETS)]

    return [ms for many in await asyncio.gather(*(one() for _ in range(QUIET_SOCKETS))) for ms in many]


async def first_token_ms(socket) -> tuple[float, str]:
    """(Milliseconds to the first token, what the turn came to)."""
    began, first = time.perf_counter(), 0.0
    await socket.send(json.dumps({"type": "message", "id": str(uuid4()), "text": QUESTION}))
    while True:
        frame = await socket.recv()
        if not first and '"delta"' in frame:
            first = (time.perf_counter() - began) * 1000
        for event in json.loads(frame)["events"]:
            if event["type"] in ("error", "limited"):
                return first, event.get("code", "limited")
            if event["type"] == "turn.finished":
                return first, event["outcome"]


@contextmanager
def flooding(tenant: TenantRef, port: int, sockets: int) -> Iterator[dict]:
    """A's sockets ask without end, in a process of their own; what became of their questions is known afterwards."""
    context, outcomes = get_context("spawn"), {}
    ours, theirs = context.Pipe()
    process = context.Process(target=flood, args=(tenant, port, sockets, theirs))
    process.start()
    try:
        ours.recv()  # all are connected and have asked
        yield outcomes
        ours.send("end")
        outcomes |= ours.recv()
    finally:
        process.kill()
        process.join()


def flood(tenant: TenantRef, port: int, sockets: int, pipe) -> None:
    asyncio.run(ask_without_end(tenant, port, sockets, pipe))


async def ask_without_end(tenant: TenantRef, port: int, sockets: int, pipe) -> None:
    outcomes: Counter = Counter()
    asked = asyncio.Semaphore(0)
    asking = [asyncio.create_task(ask(tenant, port, outcomes, asked)) for _ in range(sockets)]
    for _ in range(sockets):
        await asked.acquire()
    outcomes.clear()
    pipe.send("asking")
    await asyncio.to_thread(pipe.recv)
    pipe.send(dict(outcomes))
    for task in asking:
        task.cancel()


async def ask(tenant: TenantRef, port: int, outcomes: Counter, asked: asyncio.Semaphore) -> None:
    """One of A's sockets."""
    async with Browser(tenant, port).socket() as socket:
        asked.release()
        while True:
            _, outcome = await first_token_ms(socket.raw)
            outcomes[outcome] += 1
            if outcome != "done":
                await asyncio.sleep(random.uniform(0.5, 1.5) * REFUSED_SECONDS)


def p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


def described(values: list[float]) -> str:
    return f"{len(values)} turns, first token p50 {median(values):.0f} ms, p95 {p95(values):.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
