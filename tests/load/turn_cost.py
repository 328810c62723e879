"""What many turns at once cost: ``python -m tests.load.turn_cost [--parallel 50] [--turns 6] [--idle 2000]``.

The model's stand-in gives its first token after 50 ms and one every 10 ms, 64 in all. In turn on the same machine:
Atrium without and with retrieval, the plain litellm SDK, and a Channels consumer as tutorials show it. Visitors ask at
moments of their own; once, to show the worst, all in step. Prints processor time for a turn, by how much the first
token is later than for a caller of the stand-in, turns for a second of one core, and the memory of the web process,
with idle sockets too; ``--only-idle`` leaves the rest out. ``--own-core 1`` gives the web process that core and keeps
visitors and stand-in off it, as docs/production.md recommends. PostgreSQL, Valkey and the vector service are to be kept
off it by hand (``taskset -apc 0 PID``); the plain SDK and the idle sockets have no core of their own.
"""

import argparse
import asyncio
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

import httpx  # noqa: E402
import websockets  # noqa: E402
from django.core.management import call_command  # noqa: E402

from agents import publishing  # noqa: E402
from agents.models import AgentConfig  # noqa: E402
from tenants.context import act_for  # noqa: E402
from tests.agents.chatting import Browser  # noqa: E402
from tests.load import arrivals  # noqa: E402
from tests.load.chat_turn import (  # noqa: E402
    cpu_ms,
    first_token,
    log,
    make_tenant,
    messages_of,
    ready,
    stand_in,
    web_process,
)
from tests.load.turn_figures import loop_ms, sleep_factor  # noqa: E402
from tests.processes import ROOT, free_port, running  # noqa: E402

ORDERS = "[[first=0.05]][[gap=0.01]][[tokens=64]]"
# What the door allows one visitor and one machine is not what is measured here
LIMITS = {"SOCKET_MESSAGES": "1000", "SOCKETS_PER_ADDRESS": "10000", "SOCKETS_PER_TENANT": "10000", "TURN_CAP": "400"}
QUESTION = "How much is the deposit for locker {n}, and when is it paid back? " + ORDERS

_own_core: set[int] = set()  # of the web process, where it has one


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parallel", type=int, default=50)
    parser.add_argument("--turns", type=int, default=6, help="of each visitor")
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--only-idle", action="store_true", help="the memory of idle sockets, without any turns")
    parser.add_argument("--own-core", type=int, help="number of a core for the web process alone")
    options = parser.parse_args()
    if options.own_core is not None:
        _own_core.add(options.own_core)
        os.sched_setaffinity(0, os.sched_getaffinity(0) - _own_core)
    logging.disable(logging.WARNING)
    call_command("deploy", stdout=io.StringIO())
    tenant = make_tenant()
    with stand_in() as url:
        if not options.only_idle:
            print_turns(tenant, url, options)
        asyncio.run(print_idle(tenant, url, options.idle))
    return 0


def print_turns(tenant, url: str, options) -> None:
    """Of Atrium and of those it is compared with."""
    messages = messages_of(tenant)
    print(f"load of the machine (1 minute): {os.getloadavg()[0]:.1f}; 100,000 additions: {loop_ms():.1f} ms; "
          f"work after a sleep takes {sleep_factor():.1f} times as long")  # fmt: skip
    print(f"{'':<46}{'CPU ms':>8}{'added ms':>10}{'p99':>8}{'turns/s':>9}{'of a core':>11}{'MB':>7}")
    direct = asyncio.run(directly(url, messages))
    for parallel in (1, options.parallel):
        turns = options.turns if parallel > 1 else 40
        print_row(
            f"Atrium with retrieval, {parallel} at once", asyncio.run(atrium(tenant, url, parallel, turns)), direct
        )
    act_for(tenant, without_knowledge)
    in_step = asyncio.run(atrium(tenant, url, options.parallel, options.turns, in_step=True))
    print_row(f"Atrium without retrieval, {options.parallel} in step", in_step, direct)
    for parallel in (1, options.parallel):
        turns = options.turns if parallel > 1 else 40
        print_row(
            f"Atrium without retrieval, {parallel} at once",
            asyncio.run(atrium(tenant, url, parallel, turns)),
            direct,
        )
    print_row(
        f"a plain consumer, {options.parallel} at once", asyncio.run(plain(tenant, url, messages, options)), direct
    )
    print_row(f"the plain SDK, {options.parallel} at once", sdk(url, messages, options), direct)


class Figures:
    """Of many turns. Milliseconds."""

    def __init__(self, firsts: list[float], cpu: float, seconds: float, memory_mb: float):
        self.firsts, self.turns, self.memory_mb = firsts, len(firsts), memory_mb
        self.cpu, self.seconds = cpu / len(firsts), seconds


async def directly(url: str, messages: list[dict]) -> float:
    """Milliseconds to the stand-in's first token, for its only caller."""
    async with httpx.AsyncClient(trust_env=False) as client:
        asked = [{**one, "content": one["content"].replace("{t}", "2")} for one in messages]
        return statistics.median([await first_token(client, url, asked) for _ in range(30)])


def without_knowledge() -> None:
    """Publish the agent without knowledge bases."""
    agent = AgentConfig.objects.get()
    agent.knowledge_bases = []
    agent.save(update_fields=["knowledge_bases"])
    publishing.publish(agent, by="a benchmark")


async def atrium(tenant, url: str, parallel: int, turns: int, *, in_step: bool = False) -> Figures:
    """Visitors who each ask one question after the other."""
    with web_process(url, **LIMITS) as (port, pid):
        to_its_core(pid)
        await ready(port)
        async with AsyncExitStack() as stack:
            chats = [await stack.enter_async_context(Browser(tenant, port).socket()) for _ in range(parallel)]
            for chat in chats:
                await chat.ask("Warm up. [[tokens=2]]")
                await _until(chat.raw, '"turn.finished"')
            asking = [_asking(chat.raw, turns, _frame, '"turn.finished"', in_step=in_step) for chat in chats]
            return await _measured(pid, asking)


def to_its_core(pid: int) -> None:
    """Pin it, if it is to have one: at once, for threads inherit it only when they begin."""
    if _own_core:
        os.sched_setaffinity(pid, _own_core)


def _frame(n: int) -> str:
    return json.dumps({"type": "message", "id": str(uuid4()), "text": QUESTION.format(n=n % 40 + 1)})


async def _measured(pid: int, visitors: list) -> Figures:
    cpu, began = cpu_ms(pid), time.perf_counter()
    firsts = [first for some in await asyncio.gather(*visitors) for first in some]
    seconds = time.perf_counter() - began
    await asyncio.sleep(0.1)
    return Figures(firsts, cpu_ms(pid) - cpu, seconds, resident_mb(pid))


async def _asking(raw, turns: int, frame, end: str, *, in_step: bool = False) -> list[float]:
    """Milliseconds to the first token of each turn. No frame is parsed: the client must cost little."""
    firsts = []
    for n in range(turns):
        await arrivals.moment(n, in_step=in_step)
        began = time.perf_counter()
        await raw.send(frame(n))
        await _until(raw, '"delta"')
        firsts.append((time.perf_counter() - began) * 1000)
        await _until(raw, end)
    return firsts


async def _until(raw, mark: str) -> None:
    while mark not in (received := await raw.recv()):
        assert '"error"' not in received and '"limited"' not in received, received


@contextmanager
def plain_process(tenant, url: str, messages: list[dict]):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.load.plain_consumer:application", "--port", str(port),
               "--ws", "websockets-sansio", "--lifespan", "off"]  # fmt: skip
    environment = {
        "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in",
        "PLAIN_TENANT": str(tenant.id), "PLAIN_MESSAGES": json.dumps(messages[:-1]),
    }  # fmt: skip
    with running(command, log=log("plain"), **environment) as process:
        yield port, process.pid


async def plain(tenant, url: str, messages: list[dict], options) -> Figures:
    """The same questions to the consumer of tutorials."""
    with plain_process(tenant, url, messages) as (port, pid):
        to_its_core(pid)
        async with AsyncExitStack() as stack:
            await _connected(port)
            address = f"ws://127.0.0.1:{port}/"
            sockets = [await stack.enter_async_context(websockets.connect(address)) for _ in range(options.parallel)]
            for raw in sockets:
                await raw.send(json.dumps({"text": "Warm up. [[tokens=2]]"}))
                await _until(raw, '"finished"')
            asking = [_asking(raw, options.turns, lambda n: json.dumps({"text": QUESTION.format(n=n)}), '"finished"')
                      for raw in sockets]  # fmt: skip
            return await _measured(pid, asking)


async def _connected(port: int) -> None:
    for _ in range(600):
        try:
            async with websockets.connect(f"ws://127.0.0.1:{port}/"):
                return
        except OSError:
            await asyncio.sleep(0.1)
    raise AssertionError("the plain consumer does not answer")


def sdk(url: str, messages: list[dict], options) -> Figures:
    """The plain SDK, as many answers at once in a process of its own."""
    order = {
        "parallel": options.parallel, "turns": options.turns,
        "arguments": {"model": "openai/stand-in", "api_base": url, "api_key": "sk-stand-in",
                      "messages": [{**one, "content": one["content"].replace("{t}", "64")} for one in messages]},
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.plain_sdk", "--many"], cwd=ROOT, input=json.dumps(order), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return Figures(found["firsts_ms"], found["cpu_ms"], found["seconds"], found["memory_mb"])


def print_row(name: str, figures: Figures, direct: float) -> None:
    added = [first - direct for first in figures.firsts]
    p99 = statistics.quantiles(added, n=100, method="inclusive")[98]
    each = figures.turns / figures.seconds
    print(f"{name:<46}{figures.cpu:>8.1f}{statistics.median(added):>10.1f}{p99:>8.1f}{each:>9.1f}"
          f"{1000 / figures.cpu:>11.0f}{figures.memory_mb:>7.0f}")  # fmt: skip


async def print_idle(tenant, url: str, count: int) -> None:
    """Kilobytes of the web process for each socket that has said hello and nothing else."""
    with web_process(url, **LIMITS) as (port, pid):
        await ready(port)
        async with AsyncExitStack() as stack:
            for _ in range(20):
                await stack.enter_async_context(Browser(tenant, port).socket())
            before = resident_mb(pid)
            for _ in range(count):
                await stack.enter_async_context(Browser(tenant, port).socket())
            each = (resident_mb(pid) - before) / count * 1024
    print(f"\nmemory of an idle socket, {count} of them: {each:.1f} KB (target 30)")


def resident_mb(pid: int) -> float:
    """What a process has for itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    sys.exit(main())
