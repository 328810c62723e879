"""What the current tenant's limits have to count, summed from the ledger and from what is on its way there."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import BigIntegerField, F, FloatField, Func, Sum, Value

from metering import clock
from metering.models import UsageColumns, UsageRecord
from metering.outbox.models import UsageEvent

BUCKET_SECONDS = 300
NEWEST_SECONDS = 60  # within which a use that was recorded is settled, too
BUCKETS = 13  # a sliding hour, and the bucket that it has half left

TOKENS = F("input_tokens") + F("output_tokens")


@dataclass(frozen=True)
class Counted:
    """Tokens of model calls.

    month    since the first of the month ``month_name``
    buckets  of the sliding hour, by number of five minutes since 1970
    newest   turns and their attempts whose use is counted, but not in the ledger yet: perhaps it is not settled either
    """

    month_name: str
    month: int
    buckets: dict[int, int]
    newest: list[tuple[UUID, int]]


def counted() -> Counted:
    """Month and sliding hour of the current tenant. An event that is relayed meanwhile is counted once."""
    month = clock.month()
    oldest = int(clock.now().timestamp()) // BUCKET_SECONDS - BUCKETS + 1
    waiting = _waiting()  # before the ledger: what leaves the outbox after this look is in both
    uses = UsageRecord.objects.filter(kind=UsageColumns.Kind.MODEL).exclude(event_id__in=list(waiting))
    total = uses.filter(occurred_at__gte=month.start).aggregate(total=Sum(TOKENS))["total"] or 0
    recent = uses.filter(occurred_at__gte=clock.now() - timedelta(seconds=BUCKETS * BUCKET_SECONDS))
    buckets = {bucket: tokens for bucket, tokens in _by_bucket(recent) if bucket >= oldest}
    for seconds, tokens, _ in waiting.values():
        if seconds >= month.start.timestamp():
            total += tokens
        bucket = int(seconds) // BUCKET_SECONDS
        if bucket >= oldest:
            buckets[bucket] = buckets.get(bucket, 0) + tokens
    since = clock.now().timestamp() - NEWEST_SECONDS
    newest = [turn for seconds, _, turn in waiting.values() if turn and seconds >= since]
    return Counted(month.name, int(total), buckets, newest)


def used_by(turn_id: UUID, attempt: int) -> int:
    """Tokens of model calls that are recorded of a turn's attempt."""
    of_turn = UsageEvent.objects.filter(payload__turn_id=str(turn_id), payload__attempt=attempt)
    waiting = {  # before the ledger: what leaves the outbox after this look is in both
        event_id: payload["input_tokens"] + payload["output_tokens"]
        for event_id, payload in of_turn.values_list("id", "payload")
    }
    relayed = UsageRecord.objects.filter(turn_id=turn_id, attempt=attempt).exclude(event_id__in=list(waiting))
    return sum(waiting.values()) + (relayed.aggregate(total=Sum(TOKENS))["total"] or 0)


def relayed_lately() -> list[tuple[UUID, int]]:
    """``(turn, attempt)`` of uses that have reached the ledger already, and perhaps are not settled yet."""
    since = clock.now() - timedelta(seconds=NEWEST_SECONDS)
    uses = UsageRecord.objects.filter(occurred_at__gte=since, turn_id__isnull=False)
    return list(uses.values_list("turn_id", "attempt"))


def _by_bucket(uses) -> list[tuple[int, int]]:
    epoch = Func(Value("epoch"), F("occurred_at"), function="date_part", output_field=FloatField())
    number = Func(epoch / BUCKET_SECONDS, function="floor", output_field=BigIntegerField())
    rows = uses.annotate(bucket=number).values_list("bucket").annotate(tokens=Sum(TOKENS)).order_by()
    return [(int(bucket), int(tokens)) for bucket, tokens in rows]


def _waiting() -> dict[UUID, tuple[float, int, tuple[UUID, int] | None]]:
    """``event id -> (when, tokens, (turn, attempt))`` of what the relay has not taken out of the outbox yet."""
    events = UsageEvent.objects.filter(payload__kind=UsageColumns.Kind.MODEL).order_by()
    return {
        event_id: (at.timestamp(), payload["input_tokens"] + payload["output_tokens"], _turn_of(payload))
        for event_id, at, payload in events.values_list("id", "occurred_at", "payload")
    }


def _turn_of(payload: dict) -> tuple[UUID, int] | None:
    return (UUID(payload["turn_id"]), payload["attempt"]) if payload["turn_id"] else None
