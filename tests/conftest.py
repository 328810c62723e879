"""Fixtures shared by all tests.

Services are real; `bin/test` has started them and put their addresses into the environment.
Two tenants stand in every isolation test: acme, and a stranger globex. Each test gets fresh ones, so nothing is reset.
"""

import gc
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.core.management import call_command
from django.db import connections
from django.test import Client

from tenants import names, provisioning, store
from tenants.accounts.models import User
from tenants.backend.base import DatabaseWrapper
from tenants.context import TenantRef, acting_for
from tests.faults.line import Line, through
from tests.processes import NO_TLS, free_port, running

ROOT = Path(__file__).resolve().parent.parent
BROWSER, FAULTS = ROOT / "tests" / "browser", ROOT / "tests" / "faults"
# modules with tests that take more than five seconds each, mostly waiting
LENGTHY = {"test_admission", "test_embedded_process", "test_health", "test_ingest", "test_ledger", "test_move_kills",
           "test_outages", "test_pausing", "test_provisioning_kills"}  # fmt: skip
FULL = bool(os.environ.get("ATRIUM_TEST_FULL"))
PASSWORD = "correct horse battery"
_numbers = count(1)
PBKDF2PasswordHasher.iterations = 1_000  # of this process: half a second is right for people, and too long for tests


def repeats(full: int) -> int:
    """How often a mass test repeats: 1 % (at least 5 times) by default, all with `bin/test full`."""
    return full if FULL else max(5, full // 100)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each of several pytest workers begins with a piece of the list, and gives idle ones of its end.

    The first begins with all tests with a browser, so that only one starts it and fills its site; the others begin with
    tests that take long, so that none of those is left at the end, when the others have nothing to do.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    browser, others = _parted(items, lambda item: item.path.is_relative_to(BROWSER))
    lengthy, brief = _parted(others, lambda item: item.path.is_relative_to(FAULTS) or item.path.stem in LENGTHY)
    modules = list(dict.fromkeys(item.path for item in lengthy))
    first = [browser, *([] for _ in range(workers - 1))]
    shared = first[1:] or first
    for item in lengthy:
        shared[modules.index(item.path) % len(shared)].append(item)
    piece, ordered = len(items) // workers, []
    for begin in first:
        room = max(0, piece - len(begin))
        ordered += begin + brief[:room]
        brief = brief[room:]
    items[:] = ordered + brief


def _parted(items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> tuple[list, list]:
    return [item for item in items if wanted(item)], [item for item in items if not wanted(item)]


gc.disable()  # while tests and libraries are loaded


def pytest_collection_finish() -> None:
    """What is loaded by now stays: no search for garbage needs to look at it again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _database(django_db_blocker) -> Iterator[None]:
    """The databases of this release. Tests commit for real, each in tenants of its own."""
    with django_db_blocker.unblock():
        call_command("deploy", stdout=io.StringIO())
        yield
        for connection in connections.all(initialized_only=True):
            connection.close()
            connection.close_pool()


@pytest.fixture(autouse=True)
def _connections_go_back() -> Iterator[None]:
    """What a test's own thread borrowed from the pools; threads that it starts use tests/threads.py.

    A connection that is kept fails the test that keeps it: with eight of them, others would find none.
    """
    before = _kept()
    yield
    connections.close_all()
    with suppress(AssertionError):  # a thread of run_for may be about to give one back
        until(lambda: _kept() <= before, seconds=5)
    assert _kept() <= before, "connections that did not go back into their pools"


def _kept() -> Counter[str]:
    """How many connections of the lasting pools somebody holds; one of a database that has gone tries to connect."""
    pools = {alias: pool for alias, pool in DatabaseWrapper._connection_pools.items() if alias in settings.DATABASES}
    sizes = {alias: pool.get_stats() for alias, pool in pools.items()}
    return Counter({alias: size["pool_size"] - size.get("pool_available", 0) for alias, size in sizes.items()})


@pytest.fixture
def make_tenant() -> Callable[..., TenantRef]:
    """``make_tenant("acme", plan="pro")``: a new working tenant."""

    def make(name: str = "acme", *, plan: str = "pro", vertical: str = "healthcare") -> TenantRef:
        slug = f"{name}-{next(_numbers)}-{uuid4().hex[:6]}"
        return provisioning.create(name=slug, slug=slug, vertical=vertical, plan=plan, by="a test").ref()

    return make


@pytest.fixture
def acme(make_tenant) -> TenantRef:
    """The tenant under test."""
    return make_tenant("acme")


@pytest.fixture
def globex(make_tenant) -> TenantRef:
    """The stranger."""
    return make_tenant("globex")


def host_of(tenant: TenantRef) -> str:
    """The host name of a tenant in tests."""
    return names.host_for(tenant.slug)


@pytest.fixture
def make_staff() -> Callable[..., User]:
    """``make_staff(acme, role="owner")``: a member of staff with the password "correct horse battery"."""

    def make(tenant: TenantRef, role: str = "owner", **fields) -> User:
        email = fields.pop("email", f"{role}-{next(_numbers)}@{tenant.slug}.example")
        with acting_for(tenant):
            return User.objects.create(email=email, password=make_password(PASSWORD), role=role, **fields)

    return make


@pytest.fixture
def client_of() -> Callable[..., Client]:
    """``client_of(acme, user)``: a browser on the tenant's host, signed in if a user is given."""

    def make(tenant: TenantRef, user: User | None = None) -> Client:
        client = Client(headers={"host": host_of(tenant)})
        if user is not None:
            with acting_for(tenant):
                client.force_login(user, backend="tenants.accounts.backends.RoleBackend")
        return client

    return make


@pytest.fixture(scope="session")
def worker() -> Iterator[None]:
    """A real Celery worker and clock."""
    folder = Path(os.environ["DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "celery", "-A", "platform_site", "worker", "-Q", "default,ingest", "-c", "2",
               "--beat", "--schedule", str(folder / "test-beat"), "--without-gossip", "--without-mingle"]  # fmt: skip
    with running(command, log=folder / "test-worker.log"):
        yield


@pytest.fixture
def empty_store(settings):
    """A store that has just lost everything, for this test alone: no process of another one uses it."""
    settings.REDIS_URL = urlsplit(settings.REDIS_URL)._replace(path="/8").geturl()
    store._forget()
    store.client().flushdb()
    yield
    store._forget()


@pytest.fixture
def line_to_store(settings) -> Iterator[Line]:
    """This process's line to the store, with one connection through it."""
    address = urlsplit(settings.REDIS_URL)
    line = Line(address.hostname, address.port)
    settings.REDIS_URL = through(settings.REDIS_URL, line.port)
    store._forget()
    store.client().ping()
    yield line
    line.cut()
    store._forget()


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """A real web process; the port it listens on."""
    with web_process() as port:
        yield port


@contextmanager
def web_process(*options: str, fresh: bool = False, **environment: str) -> Iterator[int]:
    """Start one web process and wait until it answers; options and environment add to ours. fresh: see running()."""
    port = free_port()
    folder = Path(os.environ["DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"PUBLIC_PORT": str(port), "SOCKET_MESSAGES": "1000", **environment}  # tests write faster than people
    log = folder / f"test-web-{port}.log"
    with running([*web_command(port), *options], log=log, fresh=fresh, **environment):
        address = f"http://127.0.0.1:{port}/healthz"
        until(lambda: httpx.get(address, verify=NO_TLS).status_code == 200, seconds=90)
        yield port


def web_command(port: int) -> list[str]:
    """What starts a web process on this port."""
    return [sys.executable, "-m", "uvicorn", "platform_site.asgi:application", "--port", str(port),
            "--http", "platform_site.serving:Http", "--ws", "platform_site.serving:Sockets",
            "--ws-max-size", "65536", "--ws-per-message-deflate", "false",
            "--lifespan", "on", "--timeout-graceful-shutdown", "5"]  # fmt: skip


def until(true: Callable[[], object], *, seconds: float = 15) -> object:
    """Ask until the answer is true; return it. Raises AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := true():
                return answer
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.05)
