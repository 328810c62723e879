"""What a chat turn costs until its first token: ``python -m tests.load.chat_turn [--turns 100]``.

Needs the services in the environment, as tests do. Starts a stand-in for the model (50 ms to the first token, 10 ms
between tokens, 64 tokens) and a web process, makes one tenant with one document, and prints
- how many statements and round trips there are from the question to the first token, seen from the services
- by how much the first token is later than for a caller of the stand-in, and what litellm alone makes of it
- processor time of the web process
"""

import argparse
import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

import httpx  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from agents import assembly, publishing  # noqa: E402
from agents.conversations.records import Opened  # noqa: E402
from knowledge import bases, retrieval  # noqa: E402
from tenants import provisioning  # noqa: E402
from tenants.context import TenantRef, acting_for  # noqa: E402
from tests.agents.chatting import Browser  # noqa: E402
from tests.conftest import until, web_command  # noqa: E402
from tests.knowledge.ingesting import add, read_here  # noqa: E402
from tests.load.turn_figures import Turn, loop_ms, print_counts, print_times  # noqa: E402
from tests.load.wiretap import AnyReader, Asked, PostgresReader, RedisReader, Tap  # noqa: E402
from tests.processes import ROOT, free_port, running  # noqa: E402

TURNS_OF_A_CONVERSATION = 5
DOCUMENT = "\n\n".join(
    f"# Rule {n}\nThe deposit for locker {n} is {n + 10} euros. It is paid back in cash at the front desk within "
    f"{n} days, when the key of locker {n} is returned in good order and nothing is left inside."
    for n in range(1, 41)
)
QUESTION = "How much is the deposit for locker {n}, and when is it paid back? [[first=0.05]][[gap=0.01]][[tokens={t}]]"


def main() -> int:
    """Measure and print. The exit status says whether the counts are within their limits; times depend on others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    call_command("deploy", stdout=io.StringIO())
    tenant = make_tenant()
    messages = messages_of(tenant)
    with stand_in() as url:
        return asyncio.run(measure(tenant, url, messages, options.turns))


def make_tenant() -> TenantRef:
    """A tenant with one document that holds the answers."""
    slug = f"load-{uuid4().hex[:8]}"
    row = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark")
    tenant = row.ref()
    assert read_here(tenant, add(tenant, DOCUMENT, "lockers.md")).state == "ready"
    return tenant


@contextmanager
def stand_in() -> Iterator[str]:
    """The model's stand-in in a process of its own; its API base."""
    port = free_port()
    with running([sys.executable, "-m", "tests.doubles.openai_server", "--port", str(port)], log=log("model")):
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/").status_code == 404)
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def web_process(model_url: str, **environment: str) -> Iterator[tuple[int, int]]:
    """(Port, process id) of a web process whose agents run on the stand-in."""
    port = free_port()
    model = {"OPENAI_BASE_URL": model_url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in"}
    with running(web_command(port), log=log("web"), PUBLIC_PORT=str(port), **model, **environment) as process:
        yield port, process.pid


def log(name: str) -> Path:
    folder = Path(os.environ["DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"load-{name}.log"


async def measure(tenant: TenantRef, model_url: str, messages: list[dict], turns: int) -> int:
    """Counts first, in a web process seen through taps; then times, in one that talks to its services directly."""
    counted = await counts(tenant, model_url)
    within = print_counts(counted)
    print_times(*await times(tenant, model_url, messages, turns))
    return 0 if within else 1


# --- counts


async def counts(tenant: TenantRef, model_url: str) -> list[Turn]:
    """Turns with what they asked of the services."""
    notes: list[Asked] = []
    taps = [
        tap_on("postgres", settings.DATABASE_URL, 5432, PostgresReader, notes),
        tap_on("redis", settings.REDIS_URL, 6379, RedisReader, notes),
        tap_on("vectors", settings.QDRANT_URL, 6333, AnyReader, notes),
    ]
    database, redis, vectors = [await tap.listen() for tap in taps]
    environment = {
        "DATABASE_URL": moved(settings.DATABASE_URL, database), "REDIS_URL": moved(settings.REDIS_URL, redis),
        "QDRANT_URL": moved(settings.QDRANT_URL, vectors), "PGSSLMODE": "disable", "PGGSSENCMODE": "disable",
    }  # fmt: skip
    with web_process(model_url, **environment) as (port, pid):
        await ready(port)
        await conversation(tenant, port, pid, tokens=2)  # fills the caches
        notes.clear()
        found = [turn for _ in range(4) for turn in await conversation(tenant, port, pid, tokens=2, notes=notes)]
    for tap in taps:
        await tap.close()
    return found


def tap_on(service: str, url: str, port: int, reader, notes: list[Asked]) -> Tap:
    parts = urlsplit(url)
    return Tap(service, parts.hostname or "127.0.0.1", parts.port or port, reader, notes)


def moved(url: str, port: int) -> str:
    """The URL with another place behind it."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"))


async def ready(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(900):
            try:
                if (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError("the web process does not answer")


async def conversation(tenant: TenantRef, port: int, pid: int, *, tokens: int = 64, notes=None, between=None):
    """One visitor's turns, one after the other. between: awaited after each."""
    turns = []
    async with Browser(tenant, port).socket() as chat:
        for n in range(TURNS_OF_A_CONVERSATION):
            turns.append(await one_turn(chat, pid, QUESTION.format(n=n + 3, t=tokens), notes))
            turns[-1].is_first = n == 0
            if between:
                await between()
    return turns


async def one_turn(chat, pid: int, question: str, notes: list[Asked] | None) -> Turn:
    turn, cpu, seen = Turn(is_first=False), cpu_ms(pid), len(notes or ())
    started = time.perf_counter()
    await chat.ask(question)
    while '"delta"' not in (frame := await chat.raw.recv()):
        assert '"error"' not in frame and '"limited"' not in frame, frame
    turn.first_ms = (time.perf_counter() - started) * 1000
    turn.cpu_first_ms, turn.asked = cpu_ms(pid) - cpu, (notes or [])[seen:]
    while '"turn.finished"' not in frame:
        frame = await chat.raw.recv()
    await asyncio.sleep(0.02)  # what comes after the answer is not the next turn's
    turn.cpu_ms = cpu_ms(pid) - cpu
    return turn


def cpu_ms(pid: int) -> float:
    """Processor time of a process so far, of threads that have ended, too."""
    return time.clock_gettime(~pid << 3 | 2) * 1000  # the clock's number, as Linux makes it of a process's


# --- times


async def times(tenant: TenantRef, model_url: str, messages: list[dict], count: int):
    """Turns, the stand-in's own first tokens, and the plain SDK's, taken in turn on the same machine."""
    direct: list[float] = []
    plain: list[dict] = []
    loops: list[float] = []
    async with httpx.AsyncClient(trust_env=False) as client, plain_sdk(model_url, messages) as ask_sdk:
        for _ in range(5):
            await first_token(client, model_url, messages), await ask_sdk(2)

        async def others():
            loops.append(loop_ms())
            direct.append(await first_token(client, model_url, messages))
            plain.append(await ask_sdk(64 if len(plain) % 5 == 0 else 2) | {"whole": len(plain) % 5 == 0})

        with web_process(model_url) as (port, pid):
            await ready(port)
            await conversation(tenant, port, pid, tokens=2)
            print(f"\nload of the machine (1 minute): {os.getloadavg()[0]:.1f} before the times", end="", flush=True)
            turns: list[Turn] = []
            while len(turns) < count:
                turns += await conversation(tenant, port, pid, between=others)
            print(f", {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores")
    return turns, direct, plain, loops


def messages_of(tenant: TenantRef) -> list[dict]:
    """What the model is asked in a first turn, for the others to ask the same."""
    with acting_for(tenant):
        question = QUESTION.format(n=3, t="{t}")
        passages = retrieval.find(question, bases=[bases.ensure_default().pk], limit=6).passages
        assert passages
        opened = Opened(
            conversation=uuid4(), turn=uuid4(), attempt=1, client_id=uuid4(), message=uuid4(), seq=1, created_at=None,
            question=question, state="agent", new=True,
        )  # fmt: skip
        return assembly.assemble(assembly.agent_of(publishing.live_version()), opened, passages).messages


def asking_for(messages: list[dict], tokens: int) -> list[dict]:
    last = messages[-1]
    return [*messages[:-1], {**last, "content": last["content"].replace("{t}", str(tokens))}]


async def first_token(client: httpx.AsyncClient, url: str, messages: list[dict]) -> float:
    """Milliseconds that a caller without anything in between waits; the answer is short, the wait is not."""
    body = {"model": "stand-in", "messages": asking_for(messages, 2), "stream": True}
    started, first = time.perf_counter(), 0.0
    async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
        async for data in response.aiter_raw():
            if not first and b"token0" in data:
                first = time.perf_counter()
    return (first - started) * 1000


class plain_sdk:  # noqa: N801  used as a function
    """The plain SDK's process; entered, it gives ``await ask(tokens) -> {"first_ms", "cpu_ms"}``."""

    def __init__(self, url: str, messages: list[dict]):
        self.arguments = {"model": "openai/stand-in", "api_base": url, "api_key": "sk-stand-in"}
        self.messages = messages

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.load.plain_sdk", cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert await self.process.stdout.readline() == b"ready\n"
        return self._ask

    async def _ask(self, tokens: int) -> dict:
        arguments = self.arguments | {"messages": asking_for(self.messages, tokens)}
        self.process.stdin.write(json.dumps(arguments).encode() + b"\n")
        return json.loads(await self.process.stdout.readline())

    async def __aexit__(self, *error):
        self.process.stdin.close()
        await self.process.wait()


if __name__ == "__main__":
    sys.exit(main())
