"""Isolation checks that an operator has asked for: workers make them, a page shows how far they are.

How far stands in Valkey for a day; the results stay in their own rows. Platform work.
"""

from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError

from platform_site import tasks
from platform_site.errors import PlatformError
from tenants import store
from tenants.ids import uuid7
from tenants.isolation import checking
from tenants.keys import system_key
from tenants.models import AuditEvent, IsolationCheck, Tenant

KEPT_SECONDS = 24 * 3600
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


class Line(NamedTuple):
    """One tenant of a run. state: ``waiting``, ``running``, ``done`` (with a result) or ``failed`` (with a text)."""

    tenant: Tenant
    state: str
    text: str
    result: IsolationCheck | None


def start(tenants: list[Tenant], *, by: str) -> UUID:
    """Let workers check these tenants. Raises QueueSilent."""
    run = uuid7()
    _note(run, {tenant.pk: WAITING for tenant in tenants})
    for tenant in tenants:
        tasks.check_isolation_of.order(run=str(run), tenant_id=tenant.pk, by=by)
    return run


def carry_out(run: UUID, tenant_id: int, *, by: str) -> None:
    """Check one tenant of a run and note what came of it."""
    _note(run, {tenant_id: RUNNING})
    tenant = Tenant.objects.select_related("database").get(pk=tenant_id)
    try:
        result = checking.check(tenant.ref())
    except (PlatformError, DatabaseError) as error:
        _note(run, {tenant_id: f"{FAILED}:{error}"})
        return
    details = {"verdict": result.verdict, "check": str(result.pk)}
    AuditEvent.objects.create(tenant_id=tenant_id, actor=by, action="tenant.isolation_checked", details=details)
    _note(run, {tenant_id: f"{DONE}:{result.pk}"})


def lines(run: UUID) -> list[Line]:
    """How far each tenant of a run is, by name; empty when nobody knows the run (any more)."""
    noted = {int(key): value.decode() for key, value in store.client().hgetall(_key(run)).items()}
    results = IsolationCheck.objects.defer("attempts").in_bulk(
        [value.partition(":")[2] for value in noted.values() if value.startswith(DONE)]
    )
    found = []
    for tenant in Tenant.objects.filter(pk__in=noted).order_by("name"):
        state, _, more = noted[tenant.pk].partition(":")
        result = results.get(UUID(more)) if state == DONE else None
        found.append(Line(tenant, state, more if state == FAILED else "", result))
    return found


def _note(run: UUID, states: dict[int, str]) -> None:
    with store.client().pipeline(transaction=True) as together:
        together.hset(_key(run), mapping=states)
        together.expire(_key(run), KEPT_SECONDS)
        together.execute()


def _key(run: UUID) -> str:
    return system_key("isolation", run)
