"""Moves a tenant while visitors chat with it: ``python -m tests.load.moves [--messages 1000000] [--visitors 20]``.

Needs the services in the environment, as tests do. Makes one tenant with that many messages, starts a web process with
the offline model, lets visitors chat over real sockets, moves the tenant to a database of its own and back, each by a
process of its own, and prints
- seconds, MB/s, and how long writes waited
- messages that were acknowledged, and how many of them are there
- what visitors noticed: the longest wait for an acknowledgement, and what they were told
- seconds that `pg_dump | pg_restore` takes for the same schema, before and beside nothing else
"""

import argparse
import asyncio
import io
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

import psycopg  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from psycopg import sql  # noqa: E402
from psycopg.conninfo import make_conninfo  # noqa: E402

from agents.conversations.models import Conversation, EndUser, Message  # noqa: E402
from tenants import databases, lifecycle, provisioning, schema_template  # noqa: E402
from tenants.context import TenantRef, acting_for, acting_for_platform  # noqa: E402
from tenants.models import Move, role_name  # noqa: E402
from tenants.moves import ahead, copying, orders  # noqa: E402
from tests.agents.chatting import Browser  # noqa: E402
from tests.conftest import web_process  # noqa: E402
from tests.processes import ROOT  # noqa: E402

PAUSE_SECONDS = 2.5  # a visitor reads
OF_A_CONVERSATION = 20
FILL = """
insert into conversations_message
    (id, conversation_id, seq, role, author, text, outcome, created_at)
select uuidv7(), c.id, n, case when n %% 2 = 1 then 'user' else 'agent' end, '',
    sha256(c.id::text::bytea) || sha256(n::text::bytea) || sha256(c.id::text::bytea || n::text::bytea)
        || sha256(random()::text::bytea) || sha256(random()::text::bytea), '', now()
from (select id from conversations_conversation order by id limit %s offset %s) c, generate_series(1, %s) n
"""
AT_A_TIME = 5_000  # conversations in one statement: none may take longer than somebody would wait


class Noticed:
    """What the visitors of one run saw."""

    def __init__(self):
        self.kept: list[str] = []
        self.waits: list[float] = []
        self.told: Counter[str] = Counter()
        self.ended = False


def main() -> int:
    """Measure and print. The exit status says whether all was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--visitors", type=int, default=20)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    call_command("deploy", stdout=io.StringIO())
    tenant = make_tenant(options.messages)
    dump_seconds = dumped_and_restored(tenant)
    print(f"pg_dump | pg_restore: {dump_seconds:.1f} s", flush=True)
    with web_process(TURN_CAP="200", SOCKET_MESSAGES="1000") as port:
        there = one_move(tenant, port, options.visitors, ["move_tenant", tenant.slug, "--to-dedicated"], dump_seconds)
        back = one_move(tenant, port, options.visitors, ["move_back", newest(tenant).pk.hex], dump_seconds)
    finish(tenant)
    return 1 if there or back else 0


def make_tenant(messages: int) -> TenantRef:
    """A tenant with that many messages."""
    slug = f"load-{uuid4().hex[:8]}"
    tenant = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark").ref()
    with acting_for(tenant):
        visitor = EndUser.objects.create(secret_hash=uuid4().hex)
        fields = {"end_user": visitor, "agent_id": uuid4(), "version_id": uuid4(), "seq": OF_A_CONVERSATION}
        Conversation.objects.bulk_create(Conversation(**fields) for _ in range(messages // OF_A_CONVERSATION))
        with connections[tenant.alias].cursor() as cursor:
            for first in range(0, messages // OF_A_CONVERSATION, AT_A_TIME):
                cursor.execute(FILL, [AT_A_TIME, first, OF_A_CONVERSATION])
        connections[tenant.alias].close()
    return tenant


def dumped_and_restored(tenant: TenantRef) -> float:
    """Seconds that PostgreSQL's own programs need for the same schema, into a new database."""
    with acting_for_platform("a benchmark"):
        address = databases.provision_address(lifecycle.named(tenant.slug).database)
    name = f"dump_{tenant.id}"
    other, restore = make_conninfo(address, dbname=name), str(Path(schema_template.DUMP).with_name("pg_restore"))
    dump = [str(schema_template.DUMP), "-Fc", "-Z0", f"--role={tenant.role}", f"--schema={tenant.schema}", address]
    with psycopg.connect(address, autocommit=True) as server:
        server.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        began = time.monotonic()
        with subprocess.Popen(dump, stdout=subprocess.PIPE) as dumping:
            subprocess.run(
                [restore, "--no-owner", "--no-privileges", "--exit-on-error", "-d", other],
                stdin=dumping.stdout, check=True,
            )  # fmt: skip
        seconds = time.monotonic() - began
        server.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
    return seconds


def one_move(tenant: TenantRef, port: int, visitors: int, command: list[str], dump_seconds: float) -> int:
    """One direction; the number of acknowledged messages that are not there."""
    seconds, seen = asyncio.run(watched(tenant, port, visitors, command))
    found = number_of(tenant, seen.kept)
    print_move(newest(tenant), seconds, seen, found, dump_seconds)
    return len(seen.kept) - found


async def watched(tenant: TenantRef, port: int, visitors: int, command: list[str]) -> tuple[float, Noticed]:
    """Seconds that the command took while visitors chatted, and what those saw."""
    seen = Noticed()
    chatting = [asyncio.create_task(chat(tenant, port, seen, number)) for number in range(visitors)]
    await asyncio.sleep(4)
    began = time.monotonic()
    mover = await asyncio.create_subprocess_exec(
        sys.executable, "manage.py", *command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, faults = await mover.communicate()
    seconds = time.monotonic() - began
    assert mover.returncode == 0, (output, faults)
    await asyncio.sleep(4)
    seen.ended = True
    await asyncio.gather(*chatting)
    return seconds, seen


async def chat(tenant: TenantRef, port: int, seen: Noticed, number: int) -> None:
    """One visitor."""
    await asyncio.sleep(number * PAUSE_SECONDS / 20)
    async with Browser(tenant, port).socket() as socket:
        while not seen.ended:
            await ask(socket, seen)
            await asyncio.sleep(PAUSE_SECONDS)


async def ask(socket, seen: Noticed) -> None:
    client_id, began = str(uuid4()), time.monotonic()
    await socket.ask("When are you open?", client_id=client_id)
    while (event := await socket.next())["type"] != "turn.finished":
        if event["type"] == "accepted":
            seen.waits.append(time.monotonic() - began)
            seen.kept.append(event["message"])
        if event["type"] in ("error", "limited"):
            seen.told[event.get("code", "limited")] += 1
            if event.get("code") != "moving":  # that one goes on by itself
                return


def newest(tenant: TenantRef) -> Move:
    with acting_for_platform("a benchmark"):
        return Move.objects.select_related("source", "target").filter(tenant_id=tenant.id).latest("created_at")


def number_of(tenant: TenantRef, kept: list[str]) -> int:
    with acting_for_platform("a benchmark"):
        now = lifecycle.named(tenant.slug).ref()
    with acting_for(now):
        found = Message.objects.filter(pk__in=kept).count()
        connections[now.alias].close()
    return found


def print_move(move: Move, seconds: float, seen: Noticed, found: int, dump_seconds: float) -> None:
    """What one direction gave."""
    facts, took = move.progress, move.progress["seconds"]
    copied = facts["copy_ended"] - facts["copy_began"]
    whole = kept_bytes(move)
    print(
        f"\n{move.source} -> {move.target}: {facts['way']}, {facts['rows']:,} rows, {facts['bytes'] / 1e6:,.0f} MB"
        f" over the line, {whole / 1e6:,.0f} MB with indexes"
    )
    print(f"  whole command {seconds:.1f} s = {seconds / dump_seconds:.2f} of pg_dump | pg_restore;"
          f" copying, indexes and comparing {copied:.1f} s = {facts['bytes'] / 1e6 / copied:.0f} MB/s")  # fmt: skip
    print(f"  writes waited {took['frozen']:.2f} s (of that copy {took['copy']:.2f}, compare {took['compare']:.2f})")
    print(f"  acknowledged {len(seen.kept)}, found {found}; longest wait for it {max(seen.waits):.2f} s,"
          f" median {sorted(seen.waits)[len(seen.waits) // 2]:.3f} s;"
          f" told {dict(seen.told)}", flush=True)  # fmt: skip


def kept_bytes(move: Move) -> int:
    """What the old copy takes up."""
    with acting_for_platform("a benchmark"):
        address, schema = databases.provision_address(move.source), orders.find(move.pk.hex).old_schema
    with psycopg.connect(address) as connection:
        copying.enter(connection, schema, role_name(move.source.pk, move.tenant_id))
        return connection.execute(ahead.SIZE).fetchone()[0]


def finish(tenant: TenantRef) -> None:
    """Both places hold the same, but for what came since; then only one is left."""
    with acting_for_platform("a benchmark"):
        move = orders.find(newest(tenant).pk.hex)
        with psycopg.connect(databases.provision_address(move.target)) as connection:
            copying.enter(connection, tenant.schema, lifecycle.named(tenant.slug).role)
            print(f"\n{sum(copying.counts(connection, copying.tables(connection)).values()):,} rows at the end")
        orders.finish(move)


if __name__ == "__main__":
    sys.exit(main())
