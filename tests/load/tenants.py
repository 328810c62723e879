"""What a large fleet costs: ``python -m tests.load.tenants [--tenants 1000] [--units 3000]``.

Makes the tenants one after the other, timing each, while one that exists goes on working. Then times a request-like
unit (find the tenant by its host, read five rows, add one) in turn with ten of them in use and with all, so that both
see the same machine, and prints the memory of this process and of the server's. Run it on services of its own; once
more with ``--again``, when the server has cleaned up behind a thousand new schemas, to time the units alone.
"""

import argparse
import io
import logging
import os
import random
import statistics
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import close_old_connections, connections  # noqa: E402

from agents.conversations.models import EndUser  # noqa: E402
from tenants import databases, directory, provisioning  # noqa: E402
from tenants.context import act_for, acting_for_platform  # noqa: E402
from tenants.models import Database, Domain  # noqa: E402

FEW = 10
BLOCK = 100  # units of one kind before the other has its turn
TARGET_RATIO, TARGET_SECONDS = 1.25, 1.0
ROWS = 5
PASSES = 4  # over all tenants, before anything is measured
_done: list[str] = []  # the host of every unit


def main() -> int:
    """Measure and print. The exit status says whether the counts came out right; times depend on the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--units", type=int, default=3000, help="of each kind")
    parser.add_argument("--again", action="store_true", help="with the tenants that an earlier run made")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    call_command("deploy", stdout=io.StringIO())
    hosts = made_before(options.tenants) if options.again else provision(options.tenants)
    rows = stored(hosts) if options.again else ROWS * len(hosts)
    few, many = measure(hosts, options.units)
    print_units(few, many, len(hosts))
    print_memory()
    return 0 if stored(hosts) == rows + len(_done) else 1


# --- provisioning


def provision(count: int) -> list[str]:
    """Make the tenants; their hosts. A neighbour works all the while."""
    first, _ = make()
    quiet = [unit(first) for _ in range(BLOCK)]
    over, beside = threading.Event(), []
    neighbour = threading.Thread(target=work, args=(first, over, beside))
    neighbour.start()
    times, hosts = [], [first]
    try:
        for _ in range(count - 1):
            host, seconds = make()
            hosts.append(host)
            times.append(seconds)
    finally:
        over.set()
        neighbour.join()
    head("milliseconds")
    row("make one tenant, until it can be used", times, TARGET_SECONDS * 1000)
    row("  the first hundred", times[:100])
    row("  the last hundred", times[-100:])
    row("a neighbour's request-like unit, before", quiet)
    row("a neighbour's request-like unit, meanwhile", beside)
    return hosts


def made_before(count: int) -> list[str]:
    """Hosts of tenants that an earlier run made."""
    with acting_for_platform("benchmark"):
        mine = Domain.objects.filter(tenant__slug__regex=r"^load-[0-9a-f]{12}$", is_primary=True)
        return list(mine.values_list("domain", flat=True)[:count])


def make() -> tuple[str, float]:
    """(The new tenant's host, seconds that it took)."""
    slug = f"load-{uuid4().hex[:12]}"
    started = time.perf_counter()
    tenant = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a benchmark")
    seconds = time.perf_counter() - started
    act_for(tenant, fill)
    close_old_connections()
    with acting_for_platform("benchmark"):
        return Domain.objects.get(tenant=tenant, is_primary=True).domain, seconds


def work(host: str, over: threading.Event, times: list[float]) -> None:
    while not over.wait(0.02):
        times.append(unit(host))


def fill() -> None:
    EndUser.objects.bulk_create(EndUser(secret_hash=uuid4().hex) for _ in range(ROWS))


# --- the unit


def measure(hosts: list[str], units: int) -> tuple[list[float], list[float]]:
    """(Seconds of each unit with a few tenants in use, with all)."""
    few, many = [], []
    directory.forget()
    for _ in range(PASSES):  # a tenant's first unit costs more, once for each connection of the pool
        for host in random.sample(hosts, len(hosts)):
            unit(host)
    while len(few) < units:
        few += [unit(random.choice(hosts[:FEW])) for _ in range(BLOCK)]
        many += [unit(random.choice(hosts)) for _ in range(BLOCK)]
    return few, many


def unit(host: str) -> float:
    """One request's worth of work; seconds."""
    started = time.perf_counter()
    act_for(directory.by_host(host), read_and_add)
    close_old_connections()
    _done.append(host)
    return time.perf_counter() - started


def read_and_add() -> None:
    if len(EndUser.objects.order_by("-created_at")[:ROWS]) != ROWS:
        raise AssertionError("a tenant's rows are not there")
    EndUser.objects.create(secret_hash=uuid4().hex)


def stored(hosts: list[str]) -> int:
    """Rows of all tenants."""
    return sum(act_for(directory.by_host(host), EndUser.objects.count) for host in hosts)


# --- figures


def print_units(few: list[float], many: list[float], count: int) -> None:
    head("\nmilliseconds of a request-like unit")
    row(f"{FEW} tenants in use", few)
    row(f"{count} tenants in use", many)
    median = statistics.median(many) / statistics.median(few)
    p99 = percentile(many, 99) / percentile(few, 99)
    print(f"{'ratio':<58}{median:>8.2f}{'':>8}{p99:>8.2f}{TARGET_RATIO:>8}")


def print_memory() -> None:
    """Of this process, and of the servers' processes that work for it."""
    print(f"\n{'memory of this process':<58}{resident(os.getpid()):>8.0f} MB")
    sizes = []
    with acting_for_platform("benchmark"):
        for database in Database.objects.all():
            with connections[databases.ensure_provision_alias(database)].cursor() as cursor:
                cursor.execute("select pid from pg_stat_activity where datname = current_database()")
                sizes += [resident(pid) for (pid,) in cursor.fetchall()]
    print(f"{f'memory of {len(sizes)} server processes, the largest':<58}{max(sizes):>8.0f} MB")


def resident(pid: int) -> float:
    """Megabytes that the process has for itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def head(name: str) -> None:
    print(f"{name:<58}{'median':>8}{'p95':>8}{'p99':>8}{'target':>8}")


def row(name: str, seconds: list[float], target: float | None = None) -> None:
    milliseconds = [one * 1000 for one in seconds]
    figures = statistics.median(milliseconds), percentile(milliseconds, 95), percentile(milliseconds, 99)
    print(f"{name:<58}" + "".join(f"{figure:>8.1f}" for figure in figures) + f"{target or '':>8}")


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    sys.exit(main())
