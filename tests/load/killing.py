"""What visitors see while processes and services die under their answers; started by tests/load/kills.py.

Each time ten visitors are being answered by two web processes, one of which is killed (kill -9), or Valkey is killed
and started again empty, or flushed, or PostgreSQL is stopped and started again. Their sockets drop and come back at
random besides. And gentler ends: a process told to end, sockets that drop, messages sent twice, answers stopped from
another process (leaving.py). Prints the time to new text: the longest silence of an answer that ran at that moment,
from then on.
"""

import argparse
import asyncio
import io
import logging
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import OperationalError  # noqa: E402
from redis import RedisError  # noqa: E402

from agents.conversations.models import Turn  # noqa: E402
from agents.turns import lease  # noqa: E402
from metering import counting  # noqa: E402
from platform_site.local.postgres import Postgres  # noqa: E402
from platform_site.local.valkey import Valkey  # noqa: E402
from tenants import store  # noqa: E402
from tenants.context import run_for  # noqa: E402
from tenants.keys import redis_key  # noqa: E402
from tests.conftest import until  # noqa: E402
from tests.doubles import openai_server  # noqa: E402
from tests.faults.restless import Restless  # noqa: E402
from tests.load import leaving  # noqa: E402
from tests.load.admission import subscribed  # noqa: E402
from tests.load.survivors import Series, Timed, started  # noqa: E402
from tests.processes import process_of  # noqa: E402

NUMBERS = {
    "kills": 50, "valkey-kills": 20, "flushes": 20, "postgres-restarts": 5,
    "drops": 2000, "double-sends": 500, "stops": 50, "drains": 1,
}  # fmt: skip
VISITORS = 10
VALKEY_AWAY_SECONDS, POSTGRES_AWAY_SECONDS = 1, 2
TRACEBACK = "Traceback (most recent call last)"
FOLDER = Path(os.environ["DATA_DIR"])
# Services that are started again end with the thread that did so: one that lasts
_services = ThreadPoolExecutor(1)


def main() -> int:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.kills", description=__doc__)
    for name, number in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    call_command("deploy", stdout=io.StringIO())
    # in an hour all this uses what the largest plan gives
    tenant = subscribed(tokens_per_hour=10**9, tokens_per_month=10**9)
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
        wrong += await leaving.drains(tenant, provider, ports[0], options.drains)
        ports.append(await asyncio.to_thread(started, stack, provider))
        wrong += await leaving.drops(tenant, ports, options.drops)
        wrong += await leaving.double_sends(tenant, ports, options.double_sends)
        wrong += await leaving.stops(tenant, ports, options.stops)
        for name, act, count in (
            ("Valkey flushed", flush, options.flushes),
            ("Valkey killed", kill_valkey, options.valkey_kills),
            ("PostgreSQL restarted", restart_postgres, options.postgres_restarts),
        ):
            if count:
                wrong += await outages(tenant, ports, name, act, count)
        return wrong + await left(tenant, ports)


async def kills(tenant, provider, survivor: int, count: int) -> list[str]:
    """Kill one process under ten answers, again and again; the next one is started meanwhile."""
    series = Series(tenant, "web process killed")
    with ExitStack() as stack:
        starting = asyncio.create_task(asyncio.to_thread(started, stack, provider))
        asking: list[asyncio.Task] = []
        for number in range(count):
            dying = await starting
            process = process_of(dying)  # looking takes its time, which is none of the answers'
            await asyncio.gather(*asking)  # processes are loaded, but none is killed, while others recover
            visitors = [Timed(tenant, [dying]) for _ in range(VISITORS)]
            asking = [asyncio.create_task(series.answered(one)) for one in visitors]
            while not all(one.begun for one in visitors):
                await asyncio.sleep(0.02)
            for one in visitors:
                one.ports = [survivor]
                one.hit()
            os.kill(process, signal.SIGKILL)
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
