"""What one admission costs, and how exact it is: ``python -m tests.load.admission [--processes 20] [--flushes 11]``.

Needs the services in the environment, as tests do. Processes of their own spend one nearly spent allowance: each claims
a turn, records its use, settles, and asks again until it is refused; Valkey is flushed in the middle, again and again.
Beside each claim goes a PING over the same client. Prints how many turns were admitted, and both times; apart from
them, the times of claims that met emptied counters, which one process fills again from the ledger while others wait.
Exit status 1 if more were admitted than the allowance and what was in flight when Valkey was flushed.
"""

import argparse
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from uuid import UUID, uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from metering import clock, ledger, limits  # noqa: E402
from metering.errors import LimitReached  # noqa: E402
from metering.models import Plan, Subscription  # noqa: E402
from metering.outbox import events, pending  # noqa: E402
from tenants import provisioning, store  # noqa: E402
from tenants.context import TenantRef, acting_for, acting_for_platform  # noqa: E402
from tenants.ids import uuid7  # noqa: E402
from tenants.keys import redis_key  # noqa: E402
from tenants.models import Tenant  # noqa: E402
from tests.processes import ROOT  # noqa: E402

LIMIT, SPENT = 1_000_000, 994_000  # tokens of the month, and those of them that the ledger has before
WARM = 20  # claims of each process that are not timed: connections, scripts, imports
TARGET = 1.5


def main() -> int:
    """Spend and print, or be one of those who spend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--flushes", type=int, default=11)
    parser.add_argument("--spend", type=int, metavar="TENANT", help="used by the benchmark itself")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.spend:
        sys.stdout.write(json.dumps(spent(Tenant.objects.get(pk=options.spend).ref())))
        return 0
    call_command("deploy", stdout=io.StringIO())
    tenant = make_tenant()
    answers, outages = run(tenant, options.processes, options.flushes)
    return 0 if report(answers, outages, options) else 1


def make_tenant():
    """One whose month is nearly spent."""
    tenant = subscribed(tokens_per_hour=2 * LIMIT, tokens_per_month=LIMIT)
    with acting_for(tenant):
        record(SPENT, uuid4())
    return tenant


def subscribed(**allowances: int) -> TenantRef:
    """A new tenant with a plan of its own."""
    slug = f"load-{uuid4().hex[:8]}"
    tenant = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="enterprise", by="a benchmark").ref()
    with acting_for_platform("a benchmark"):
        plan = Plan.objects.create(code=slug, name=slug, sessions=1000, **allowances)
        Subscription.objects.filter(tenant_id=tenant.id).update(plan=plan)
    return tenant


def record(tokens: int, turn: UUID) -> None:
    events.record(
        event_id=uuid7(), kind="model", model="openai/m", input_tokens=tokens, output_tokens=0, certainty="exact",
        turn_id=turn,
    )  # fmt: skip


def run(tenant, processes: int, flushes: int) -> tuple[list[dict], list[tuple[int, int]]]:
    """What each process says, and when (from, until) the counters were empty after Valkey was flushed."""
    command = [sys.executable, "-m", "tests.load.admission", "--spend", str(tenant.id)]
    spending = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for one in spending:
        one.stdout.read(1)  # it has loaded
    for one in spending:
        one.stdin.close()
    one_part = (LIMIT - SPENT) / (flushes + 1)
    outages = []
    relaying = threading.Thread(target=relay, args=[tenant, spending])
    relaying.start()
    for number in range(1, flushes + 1):
        wait_for(tenant, SPENT + round(number * one_part), spending)
        began = time.perf_counter_ns()
        store.client().flushall()
        wait_for(tenant, 1, spending)
        outages.append((began, time.perf_counter_ns()))
    answers = [json.loads(one.stdout.read()) for one in spending]
    for one in spending:
        one.wait()
    relaying.join()
    return answers, outages


def relay(tenant, spending: list[subprocess.Popen]) -> None:
    """The worker's part: usage goes on to the ledger while somebody spends."""
    with acting_for(tenant):
        while any(one.poll() is None for one in spending):
            pending.mark()
            ledger.relay_tenant()
            time.sleep(0.5)
    for connection in connections.all(initialized_only=True):
        connection.close()


def wait_for(tenant, tokens: int, spending: list[subprocess.Popen]) -> None:
    """Until so many are counted, or nobody spends any more."""
    with acting_for(tenant):
        month = f"m:{clock.month().name}"
        while int(store.client().hget(redis_key("lim"), month) or 0) < tokens:
            if all(one.poll() is not None for one in spending):
                return
            time.sleep(0.005)


def spent(tenant) -> dict:
    """One process: claims until it is refused. claims: (when it began, ns; how long, ns); pings: how long."""
    sys.stdout.write(" ")
    sys.stdout.flush()
    sys.stdin.read()  # all begin together
    granted, claims, pings = 0, [], []
    with acting_for(tenant):
        conversation = uuid4()
        try:
            while True:
                turn = uuid4()
                began = time.perf_counter_ns()
                limits.reserve(turn_id=turn, conversation_id=conversation, tokens=1)
                between = time.perf_counter_ns()
                store.client().ping()
                ended = time.perf_counter_ns()
                granted += 1
                claims.append((began, between - began))
                pings.append(ended - between)
                record(1, turn)
                limits.settle(turn_id=turn, tokens=1)
        except LimitReached:
            return {"granted": granted, "claims": claims[WARM:], "pings": pings[WARM:]}


def report(answers: list[dict], outages: list[tuple[int, int]], options) -> bool:
    """Print; whether no more were admitted than may be."""
    granted, most = sum(one["granted"] for one in answers), LIMIT - SPENT + options.processes * options.flushes
    print(f"{options.processes} processes, {len(outages)} flushes: {granted:,} admitted of {LIMIT - SPENT:,}")
    print(f"at most {most:,}: the allowance, and one turn of each process in flight at each flush")
    claims = [claim for one in answers for claim in one["claims"]]
    usual = [took for began, took in claims if not met(began, took, outages)]
    pings = [took for one in answers for took in one["pings"]]
    ratios = [claim / ping for claim, ping in zip(figures("claims", usual), figures("pings", pings), strict=True)]
    print(f"one admission / one PING: median {ratios[0]:.2f}, p99 {ratios[1]:.2f} (target {TARGET})")
    emptied = [took for began, took in claims if met(began, took, outages)]
    if len(emptied) > 1:
        figures("claims that met emptied counters", emptied)
    return granted <= most


def met(began: int, took: int, outages: list[tuple[int, int]]) -> bool:
    return any(began <= until and began + took >= since for since, until in outages)


def figures(name: str, times: list[int]) -> tuple[float, float]:
    """Median and 99th percentile, printed in microseconds."""
    median, p99 = statistics.median(times), statistics.quantiles(times, n=100, method="inclusive")[98]
    print(f"{name}: {len(times):,}, median {median / 1000:.0f} us, p99 {p99 / 1000:.0f} us")
    return median, p99


if __name__ == "__main__":
    sys.exit(main())
