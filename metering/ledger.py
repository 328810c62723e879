"""Moves usage from a tenant's outbox to the ledger, exactly once, whoever dies or works at the same time.

The ledger's insert is committed before the outbox's delete; an event that is inserted twice is refused by its key.
"""

from metering import prices
from metering.models import UsageRecord
from metering.outbox import pending
from metering.outbox.models import UsageEvent
from tenants.context import current
from tenants.transactions import atomic_control

BATCH = 500


def relay_tenant() -> int:
    """Move what waits in the current tenant's outbox; return how many events. Safe at once and killed anywhere.

    The mark comes off before the look and back on as soon as there is something to move: it is gone for good only
    after a look that found nothing. So whoever is killed while moving leaves it on.
    """
    if not pending.take_off():
        return 0
    moved = 0
    while batch := _oldest():
        pending.mark()
        _insert(batch)
        _delete(batch)
        moved += len(batch)
        if len(batch) < BATCH:
            break
    return moved


def _oldest() -> list[UsageEvent]:
    return list(UsageEvent.objects.order_by("occurred_at")[:BATCH])


def _insert(events: list[UsageEvent]) -> None:
    records = [UsageRecord(tenant_id=current().id, **_columns(event)) for event in events]
    with atomic_control(UsageRecord):
        UsageRecord.objects.bulk_create(records, ignore_conflicts=True)


def _columns(event: UsageEvent) -> dict:
    known = event.payload
    cost = prices.cost(
        model=known["model"],
        at=event.occurred_at,
        input_tokens=known["input_tokens"],
        output_tokens=known["output_tokens"],
        cached_tokens=known["cached_tokens"],
    )
    return {"event_id": event.pk, "occurred_at": event.occurred_at, "cost": cost, **known}


def _delete(events: list[UsageEvent]) -> None:
    UsageEvent.objects.filter(pk__in=[event.pk for event in events]).delete()
