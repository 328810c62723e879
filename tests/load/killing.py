"""What visitors see while processes and services die under their answers; started by tests/load/kills.py.

Each time ten visitors are being answered by two web processes, one of which is killed (kill -9), or Valkey is killed
and started again empty, or flushed, or PostgreSQL is stopped and started again. Their sockets drop and come back at
random besides. Prints the time to new text: the longest silence of an answer that ran at that moment, from then on.
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
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import OperationalError  # noqa: E402
from redis import RedisError  # noqa: E402

from agents.conversations.models import Message, Turn  # noqa: E402
from agents.turns import lease  # noqa: E402
from metering import counting  # noqa: E402
from metering.outbox.models import UsageEvent  # noqa: E402
from platform_site.local.postgres import Postgres  # noqa: E402
from platform_site.local.valkey import Valkey  # noqa: E402
from tenants import provisioning, store  # noqa: E402
from tenants.context import run_for  # noqa: E402
from tenants.keys import redis_key  # noqa: E402
from tests.conftest import until, web_process  # noqa: E402
from tests.doubles import openai_server  # noqa: E402
from tests.faults.restless import Restless, Seen  # noqa: E402
from tests.faults.test_processes import process_of  # noqa: E402

VISITORS = 10
QUESTION = "[[tokens=150]][[gap=0.02]]"
MOST_EVENTS = 60  # of one socket, before it drops
VALKEY_AWAY_SECONDS, POSTGRES_AWAY_SECONDS = 1, 2
TRACEBACK = "Traceback (most recent call last)"
FOLDER = Path(os.environ["DATA_DIR"])
# Services that are started again end with the thread that did so: one that lasts
_services = ThreadPoolExecutor(1)


class Timed(Restless):
    """A visitor who notes the longest silence of an answer after something was killed."""

    hit_at = 0.0
    silence = 0.0
    _heard = _place_heard = None

    def hit(self) -> None:
        """Something is being killed now."""
        self.hit_at, self.silence = time.monotonic(), 0.0

    def took(self, seen: Seen) -> None:
        place = seen.turn, seen.attempt, seen.n, bool(seen.finished)
        if place == self._place_heard:
            return
        now = time.monotonic()
        if self.hit_at:
            self.silence = max(self.silence, now - max(self.hit_at, self._heard or 0))
        self._heard, self._place_heard = now, place


class Series:
    """Faults of one kind, and what the visitors saw."""

    def __init__(self, tenant, name: str):
        self.tenant, self.name = tenant, name
        self.seen: list[Seen] = []
        self.silences: list[float] = []
        self.began = time.monotonic()

    async def answered(self, visitor: Timed) -> None:
        """One question of a visitor, to its end."""
        self.seen.append(await visitor.ask(QUESTION, most_events=MOST_EVENTS))
        if visitor.hit_at:
            self.silences.append(visitor.silence)
            visitor.hit_at = 0.0

    async def ended(self, count: int) -> list[str]:
        """Print the figures; what is wrong."""
        wrong, again = await run_for(self.tenant, wrong_of, self.seen)
        p99 = statistics.quantiles(self.silences, n=100, method="inclusive")[98]
        print(
            f"{count} × {self.name}, {time.monotonic() - self.began:.0f} s: {len(self.seen)} answers, "
            f"{len(self.silences)} of them hit, {again} begun again; time to new text: "
            f"median {statistics.median(self.silences):.2f} s, p99 {p99:.2f} s, most {max(self.silences):.2f} s; "
            f"lost, doubled or wrong: {len(wrong)}",
            flush=True,
        )
        return [f"{self.name}: {one}" for one in wrong]


def wrong_of(seen: list[Seen]) -> tuple[list[str], int]:
    """What is not as it should be, and how many of the answers were begun again."""
    rows = Turn.objects.in_bulk([one.turn for one in seen])
    texts: dict[str, list[str]] = {}
    for message in Message.objects.filter(turn_id__in=rows, role="agent"):
        texts.setdefault(str(message.turn_id), []).append(message.text)
    uses: dict[str, list[int]] = {}
    for event in UsageEvent.objects.all():
        uses.setdefault(event.payload["turn_id"], []).append(event.payload["attempt"])
    wrong = []
    for one in seen:
        row = next((row for key, row in rows.items() if str(key) == one.turn), None)
        state, attempt = (row.state, row.attempt) if row else ("lost", 0)
        said, used = texts.get(one.turn, []), sorted(uses.get(one.turn, []))
        if one.faults or state != "done" or said != [one.text] or used != list(range(1, attempt + 1)):
            wrong.append(f"{one.turn} {one.faults} {state}, attempt {attempt}, usage of {used}, {len(said)} texts")
    return wrong, sum(row.attempt > 1 for row in rows.values())


def main() -> int:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.kills", description=__doc__)
    for name, number in (("kills", 50), ("valkey-kills", 20), ("flushes", 20), ("postgres-restarts", 5)):
        parser.add_argument(f"--{name}", type=int, default=number)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    call_command("deploy", stdout=io.StringIO())
    slug = f"load-{uuid4().hex[:8]}"
    tenant = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark").ref()
    with openai_server() as provider:
        wrong = asyncio.run(measure(tenant, provider, options))
    wrong += tracebacks()
    print(f"tracebacks in the logs of web processes: {len(tracebacks())}")
    for fault in wrong[:30]:
        print(fault)
    return 1 if wrong else 0


async def measure(tenant, provider, options) -> list[str]:
    """All series, and what was wrong."""
    with ExitStack() as stack:
        ports = [started(stack, provider)]
        wrong = await kills(tenant, provider, ports[0], options.kills) if options.kills else []
        ports.append(await asyncio.to_thread(started, stack, provider))
        for name, act, count in (
            ("Valkey flushed", flush, options.flushes),
            ("Valkey killed", kill_valkey, options.valkey_kills),
            ("PostgreSQL restarted", restart_postgres, options.postgres_restarts),
        ):
            if count:
                wrong += await outages(tenant, ports, name, act, count)
        return wrong + await left(tenant, ports)


def started(stack: ExitStack, provider) -> int:
    """The port of one more web process."""
    model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in"}
    return stack.enter_context(web_process(TURN_CAP="200", SOCKETS_PER_ADDRESS="1000", **model))


async def kills(tenant, provider, survivor: int, count: int) -> list[str]:
    """Kill one process under ten answers, again and again; the next one is started meanwhile."""
    series = Series(tenant, "web process killed")
    with ExitStack() as stack:
        starting = asyncio.create_task(asyncio.to_thread(started, stack, provider))
        asking: list[asyncio.Task] = []
        for number in range(count):
            dying = await starting
            await asyncio.gather(*asking)  # processes are loaded, but none is killed, while others recover
            visitors = [Timed(tenant, [dying]) for _ in range(VISITORS)]
            asking = [asyncio.create_task(series.answered(one)) for one in visitors]
            while not all(one.begun for one in visitors):
                await asyncio.sleep(0.02)
            for one in visitors:
                one.ports = [survivor]
                one.hit()
            os.kill(process_of(dying), signal.SIGKILL)
            if number + 1 < count:
                starting = asyncio.create_task(asyncio.to_thread(started, stack, provider))
        await asyncio.gather(*asking)
    return await series.ended(count)


async def outages(tenant, ports: list[int], name: str, act: Callable[[], Awaitable], count: int) -> list[str]:
    """Visitors chat all the time, over both processes; a service fails in the middle."""
    series, over = Series(tenant, name), asyncio.Event()

    async def chat(visitor: Timed) -> None:
        while not over.is_set():
            await series.answered(visitor)

    visitors = [Timed(tenant, ports) for _ in range(VISITORS)]
    chatting = [asyncio.create_task(chat(one)) for one in visitors]
    for _ in range(count):
        await asyncio.sleep(random.uniform(0.7, 1.5))
        for one in visitors:
            one.hit()
        await act()
        while any(one.hit_at for one in visitors):
            await asyncio.sleep(0.05)
    over.set()
    await asyncio.gather(*chatting)
    return await series.ended(count)


async def flush() -> None:
    await store.aclient().flushall()


async def kill_valkey() -> None:
    """kill -9; it comes back without its data."""
    service = Valkey(FOLDER, durable=False)
    service.process.kill()
    await asyncio.sleep(VALKEY_AWAY_SECONDS)
    await asyncio.get_running_loop().run_in_executor(_services, service.start)


async def restart_postgres() -> None:
    service, loop = Postgres(FOLDER, durable=False), asyncio.get_running_loop()
    await loop.run_in_executor(_services, service.stop)
    await asyncio.sleep(POSTGRES_AWAY_SECONDS)
    await loop.run_in_executor(_services, service.start)


async def left(tenant, ports: list[int]) -> list[str]:
    """What was left behind, a moment after the last answer."""
    for port in ports:  # a process that could not settle fills the counters again when it is asked next
        await Restless(tenant, [port]).ask("[[tokens=1]]")
    await asyncio.sleep(2 * lease.LEASE_MS / 1000)
    return await run_for(tenant, _left)


def _left() -> list[str]:
    until(lambda: _answers(), seconds=30)
    month = counting.counted()
    counter = int(store.client().hget(redis_key("lim"), f"m:{month.month_name}") or 0)
    found = {
        "turns that run": Turn.objects.filter(state="running").count(),
        "reservations": store.client().zcard(redis_key("res")),
        "leases": store.client().zcard(lease.KEY),
        "tokens that the counters have more than the ledger": counter - month.month,
    }
    print(f"left behind: {found}; the ledger has {month.month:,} tokens", flush=True)
    return [f"{number} {name}" for name, number in found.items() if number]


def _answers() -> bool:
    """This process, too, has connections that died."""
    try:
        return Turn.objects.exists() and store.client().ping()
    except (OperationalError, RedisError):
        return False


def tracebacks() -> list[str]:
    """The line before each, of all web processes' logs."""
    found = []
    for log in FOLDER.glob("test-web-*.log"):
        found += [line[:400] for line in log.read_text().splitlines() if TRACEBACK in line]
    return found


if __name__ == "__main__":
    sys.exit(main())
