"""What the current tenant has used, as its staff and programs see it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Count, Sum

from metering import clock, counting, limits, plans
from metering.models import UsageRecord
from platform_site.errors import BadInput
from tenants.context import current

NEARLY_PERCENT = 80


@dataclass(frozen=True)
class Period:
    """A span of time in the tenant's time zone; ``end`` is not in it."""

    name: str
    start: datetime
    end: datetime
    time_zone: str


@dataclass(frozen=True)
class Totals:
    """Sums over some uses. Cached tokens are part of the input tokens; cost in US dollars."""

    uses: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: Decimal = Decimal(0)
    model: str = ""

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class Meter:
    """One limit of the plan and how much of it is used; ``used`` is None while it is not known."""

    name: str
    used: int | None
    allowed: int
    at_the_end: str

    @property
    def percent(self) -> int:
        """Of the limit, 0 to 100."""
        return min(100, 100 * (self.used or 0) // max(1, self.allowed))

    @property
    def tone(self) -> str:
        """A status tone of the design system."""
        return "bad" if self.percent >= 100 else "warn" if self.percent >= NEARLY_PERCENT else "ok"


def period(name: str) -> Period:
    """``today`` or ``month``. Raises BadInput for another name."""
    zone = ZoneInfo(current().timezone)
    day = clock.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match name:
        case "today":
            return Period(name, day, (day + timedelta(hours=36)).replace(hour=0), zone.key)
        case "month":
            start = day.replace(day=1)
            return Period(name, start, (start + timedelta(days=32)).replace(day=1), zone.key)
    raise BadInput("Choose one of the periods: today, month.")


def by_model(span: Period) -> list[Totals]:
    """The current tenant's totals per model, most tokens first."""
    uses = UsageRecord.objects.filter(occurred_at__gte=span.start, occurred_at__lt=span.end)
    rows = uses.values("model").annotate(
        uses=Count("event_id"),
        **{name: Sum(name) for name in ("input_tokens", "output_tokens", "cached_tokens", "cost")},
    )
    return sorted((Totals(**row) for row in rows.order_by()), key=lambda one: -one.tokens)


def total(parts: list[Totals]) -> Totals:
    """The sum of all parts."""
    return Totals(
        uses=sum(part.uses for part in parts),
        input_tokens=sum(part.input_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        cached_tokens=sum(part.cached_tokens for part in parts),
        cost=sum((part.cost for part in parts), Decimal(0)),
    )


def newest(count: int) -> list[UsageRecord]:
    """The current tenant's newest lines of the ledger."""
    return list(UsageRecord.objects.order_by("-occurred_at")[:count])


def meters() -> list[Meter]:
    """One for each limit that answers can run into, counted as it is enforced."""
    allowed, counted, month = plans.allowances(), counting.counted(), clock.month()
    resumes = f"At 100 % no more answers are given this month; they continue on {month.end:%-d %B}, 0:00 UTC."
    return [
        Meter("Tokens this month", counted.month, allowed.tokens_per_month, resumes),
        Meter(
            "Tokens in the last hour",
            sum(counted.buckets.values()),
            allowed.tokens_per_hour,
            "At 100 % new answers wait until earlier use has left the hour.",
        ),
        Meter(
            "Conversations being answered now",
            limits.sessions_now(),
            allowed.sessions,
            "At 100 % the next customer is asked to try again in a few seconds.",
        ),
    ]


def forecast() -> str:
    """Where this month's tokens are heading, as a sentence."""
    used, allowed, month = counting.counted().month, plans.allowances().tokens_per_month, clock.month()
    if used == 0:
        return "Nothing has been used this month."
    if used >= allowed:
        return f"The month's tokens are used up. Answers continue on {month.end:%-d %B}, 0:00 UTC."
    elapsed = max(clock.now() - month.start, timedelta(days=1))
    full_at = month.start + elapsed * (allowed / used)
    if full_at < month.end:
        return f"At this pace the month's tokens are used up on {full_at:%-d %B}."
    expected = round(used * ((month.end - month.start) / elapsed))
    return f"At this pace about {expected:,} tokens by the end of the month, which the plan allows."
