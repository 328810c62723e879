"""What attacks on the chat door cost: ``python -m tests.load.attacks [NAME …]``.

Needs the services in the environment, as tests do. Starts a web process and two tenants. One is attacked in several
ways (attackers.py), a neighbour's visitors chat all the time. Prints, for each attack, the memory of the web process
before, at most and after, its processor time in percent of one core, the neighbour's p95 until the first token, and
what became of the attack.
"""

import argparse
import asyncio
import io
import logging
import os
import statistics
import sys
import time
from pathlib import Path
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from tenants import provisioning, store  # noqa: E402
from tenants.context import TenantRef, run_for  # noqa: E402
from tenants.keys import redis_key  # noqa: E402
from tests.agents.chatting import Browser  # noqa: E402
from tests.conftest import web_command  # noqa: E402
from tests.load.chat_turn import cpu_ms, log, ready  # noqa: E402
from tests.processes import ROOT, free_port, running  # noqa: E402

VISITORS = 8  # of the neighbour
QUIET_SECONDS = 12
BETWEEN_SECONDS = 2.2  # two questions of one visitor: as fast as the door lets them
ATTACKS = {  # seconds, how many at once
    "slow_headers": (20, 500),
    "slow_bodies": (45, 200),
    "frame_flood": (20, 20),
    "bursts": (20, 10),
    "pings": (20, 20),
    "one_address": (20, 2_000),
    "many_addresses": (20, 2_000),
    "deflate": (20, 20),
    "half_open": (60, 100),
    "never_reading": (60, 20),
}


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attacks", nargs="*", choices=[[], *ATTACKS], help="some of them; all without")
    names = parser.parse_args().attacks or list(ATTACKS)
    logging.disable(logging.INFO)
    call_command("deploy", stdout=io.StringIO())
    attacked, neighbour = (tenant_of(name) for name in ("attacked", "neighbour"))
    port = free_port()
    environment = {"PUBLIC_PORT": str(port), "OFFLINE_TOKEN_SECONDS": "0.01"}
    with running(web_command(port), log=log("attacked"), **environment) as process:
        asyncio.run(measure(attacked, neighbour, port, process.pid, names))


def tenant_of(name: str) -> TenantRef:
    """A tenant whose own allowances are in nobody's way."""
    slug = f"{name}-{uuid4().hex[:8]}"
    return provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark").ref()


async def measure(attacked: TenantRef, neighbour: TenantRef, port: int, pid: int, names: list[str]) -> None:
    """One attack after the other, each after a quiet time."""
    await ready(port)
    firsts: list[float] = []
    visitors = [asyncio.create_task(visit(neighbour, port, firsts)) for _ in range(VISITORS)]
    await quiet(15, firsts)  # pools fill, code is loaded
    print(f"{'':<16}{'memory, MB':>24}{'core, %':>16}{'first token p95, ms':>22}{'sockets':>8}")
    print(
        f"{'attack':<16}{'before':>8}{'most':>8}{'after':>8}{'quiet':>8}{'during':>8}{'quiet':>8}{'during':>8}{'n':>6}"
    )
    for name in names:
        used = cpu_ms(pid)
        calm = await quiet(QUIET_SECONDS, firsts)
        idle = (cpu_ms(pid) - used) / QUIET_SECONDS / 10
        before, used, started = resident_mb(pid), cpu_ms(pid), time.monotonic()
        most, left, outcome, during = await attack(name, attacked, port, pid, firsts)
        busy = (cpu_ms(pid) - used) / (time.monotonic() - started) / 10
        await asyncio.sleep(3)
        figures = f"{before:>8.1f}{most:>8.1f}{resident_mb(pid):>8.1f}{idle:>8.0f}{busy:>8.0f}"
        print(
            f"{name:<16}{figures}{p95(calm):>8.1f}{p95(during):>8.1f}{len(during):>6}{left:>8}  {outcome}", flush=True
        )
    for visitor in visitors:
        visitor.cancel()


async def quiet(seconds: float, firsts: list[float]) -> list[float]:
    """The neighbour's times while nobody attacks."""
    firsts.clear()
    await asyncio.sleep(seconds)
    return list(firsts)


async def attack(name: str, attacked: TenantRef, port: int, pid: int, firsts: list[float]):
    """``(most MB, sockets that the server held at the end, what became of it, the neighbour's times)``."""
    seconds, count = ATTACKS[name]
    arguments = [name, attacked.slug, str(port), str(seconds), str(count)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.load.attackers", *arguments, cwd=ROOT, stdout=-1, stderr=-3
    )
    firsts.clear()
    result, most, left = asyncio.create_task(process.communicate()), 0.0, 0
    while not result.done():
        most = max(most, resident_mb(pid))
        await asyncio.wait({result}, timeout=0.1)
        left = left if result.done() else await run_for(attacked, held)
    return most, left, result.result()[0].decode().strip(), list(firsts)


async def visit(neighbour: TenantRef, port: int, firsts: list[float]) -> None:
    """One visitor of the neighbour, who asks as soon as it may; a fresh conversation after each five questions."""
    while True:
        async with Browser(neighbour, port).socket() as chat:
            for _ in range(5):
                started = time.perf_counter()
                await chat.ask("Hello, who are you?")
                await chat.until("delta")
                firsts.append((time.perf_counter() - started) * 1000)
                await chat.until("turn.finished")
                await asyncio.sleep(max(0, BETWEEN_SECONDS - (time.perf_counter() - started)))


def held() -> int:
    """Places that the current tenant's sockets hold."""
    return sum(map(int, store.client().hvals(redis_key("sockets"))))


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else float("nan")


def resident_mb(pid: int) -> float:
    """Memory of a process that is in use now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
