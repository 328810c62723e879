"""Writes down what a piece of work used, in the tenant's own schema and in the transaction of that work."""

from datetime import UTC, datetime
from uuid import UUID

from django.utils import timezone

from metering.outbox import pending
from metering.outbox.models import UsageEvent
from tenants.transactions import after_commit

MODEL_CHARACTERS, PROVIDER_CHARACTERS = 100, 40  # what the ledger's columns hold


def record(
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
) -> None:
    """Record one use of the current tenant; the relay brings it to the ledger, exactly once by ``event_id``.

    event_id   version 7: its time is the time of use, so recording it again is the same line of the ledger
    kind       model or embedding
    model      as routed; what stands before its first "/" is the provider
    certainty  exact or estimated
    Raises     ValueError  a count is negative: the ledger would refuse it for ever
    """
    if min(input_tokens, output_tokens, cached_tokens, attempt) < 0:
        raise ValueError("usage cannot be negative")
    pending.mark()  # before the commit: whoever dies in between has been seen
    UsageEvent.objects.bulk_create(
        [
            UsageEvent(
                id=event_id,
                occurred_at=_time_of(event_id),
                payload={
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
                },
            )
        ],
        ignore_conflicts=True,
    )
    after_commit(pending.mark)  # and after it: the relay may have looked before there was anything to see


def _time_of(event_id: UUID) -> datetime:
    if event_id.version != 7:
        return timezone.now()
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
