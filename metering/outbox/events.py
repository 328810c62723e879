"""Writes down what a piece of work used, in the tenant's own schema and in the transaction of that work."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db import connections
from django.utils import timezone

from metering.outbox import pending
from tenants.context import current
from tenants.transactions import after_commit

MODEL_CHARACTERS, PROVIDER_CHARACTERS = 100, 40  # what the ledger's columns hold

# For a statement that writes what caused the uses, too; see `parameters`. A use that has come before adds nothing
INSERT = """
insert into outbox_usageevent (id, occurred_at, payload)
select id, occurred_at, payload
from jsonb_to_recordset(%(uses)s::jsonb) as used (id uuid, occurred_at timestamptz, payload jsonb)
on conflict do nothing
"""


@dataclass(frozen=True)
class Event:
    """One use of the current tenant, as the relay will bring it to the ledger."""

    id: UUID
    payload: dict


def event(
    *,
    event_id: UUID,
    kind: str,
    model: str,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    certainty: str,
    agent_id: UUID | None = None,
    turn_id: UUID | None = None,
    attempt: int = 1,
) -> Event:
    """A use that can be recorded.

    event_id   version 7: its time is the time of use, so recording it again is the same line of the ledger
    kind       model or embedding
    model      as routed; what stands before its first "/" is the provider
    certainty  exact or estimated
    Raises     ValueError  a count is negative: the ledger would refuse it for ever
    """
    if min(input_tokens, output_tokens, cached_tokens, attempt) < 0:
        raise ValueError("usage cannot be negative")
    payload = {
        "kind": kind,
        "provider": model.partition("/")[0][:PROVIDER_CHARACTERS],
        "model": model[:MODEL_CHARACTERS],
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cached_tokens": cached_tokens,
        "certainty": certainty,
        "agent_id": str(agent_id) if agent_id else None,
        "turn_id": str(turn_id) if turn_id else None,
        "attempt": attempt,
    }
    return Event(event_id, payload)


def record(**use) -> None:
    """Record one use, as ``event`` takes it, of the current tenant: exactly once by its ``event_id``."""
    pending.mark()  # before the commit: whoever dies in between has been seen
    with connections[current().alias].cursor() as cursor:
        cursor.execute(INSERT, parameters([event(**use)]))
    after_commit(pending.mark)  # and after it: the relay may have looked before there was anything to see


def parameters(events: list[Event]) -> dict:
    """What INSERT is to be run with.

    Its caller marks the tenant after the commit (``pending``); before it as well, where nobody would find out that it
    died in between.
    """
    uses = [{"id": str(one.id), "occurred_at": str(_time_of(one.id)), "payload": one.payload} for one in events]
    return {"uses": json.dumps(uses)}


def _time_of(event_id: UUID) -> datetime:
    if event_id.version != 7:
        return timezone.now()
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
