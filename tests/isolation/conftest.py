"""The world of the isolation tests, built once: A at home, and two strangers full of canaries."""

import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest
from celery.signals import before_task_publish
from django.db import connections

from platform_site.logs import ContextFilter, JsonFormatter
from tenants import openings, provisioning
from tenants.context import TenantRef, acting_for_platform
from tenants.models import Database, Tenant
from tests.isolation.matrix import Twins, World, fill


@pytest.fixture(scope="session")
def world(_database) -> Iterator[World]:
    """A and B share a database, D has one of its own; all three have rows of equal keys, and rows of their own keys."""
    acme, globex, lonely = _tenant("acme"), _tenant("globex"), _tenant("lonely", dedicated=True)
    twins = Twins()
    made = World(
        home=fill(acme, twins),
        twins=[fill(tenant, twins) for tenant in (globex, lonely)],
        strangers=[fill(tenant) for tenant in (globex, lonely)],
    )
    with _overheard(made):
        yield made
    assert made.overheard() == []  # a22: of all requests, as far as they ran in this process
    drop_dedicated(lonely)


def _tenant(name: str, **place) -> TenantRef:
    slug = f"{name}-{uuid4().hex[:8]}"
    return provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a test", **place).ref()


class _overheard:
    """Keeps what is logged and what goes to the queue, as bytes that can be searched for canaries."""

    def __init__(self, world: World):
        self.world, self.handler = world, _Keeping(world)

    def __enter__(self):
        logging.getLogger().addHandler(self.handler)
        before_task_publish.connect(self.sent)

    def __exit__(self, *_):
        logging.getLogger().removeHandler(self.handler)
        before_task_publish.disconnect(self.sent)

    def sent(self, body=None, headers=None, **_) -> None:
        self.world.messages.append(repr((headers, body)))


class _Keeping(logging.Handler):
    def __init__(self, world: World):
        super().__init__()
        self.world = world
        self.addFilter(ContextFilter())
        self.setFormatter(JsonFormatter())

    def emit(self, record):
        self.world.logged.append((record.tenant_id, self.format(record)))


def drop_dedicated(tenant: TenantRef) -> None:
    """Its database goes; its row stays, as of a tenant that nobody finished making."""
    for connection in connections.all(initialized_only=True):
        connection.close()
    with acting_for_platform("a test"):
        row = Tenant.objects.select_related("database").get(pk=tenant.id)
        shared = Database.objects.get(name="shared_1")
        Tenant.objects.filter(pk=row.pk).update(database=shared, state=Tenant.State.PROVISIONING)
        openings.drop_dedicated(row.database, by="a test")
