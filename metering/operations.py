"""Figures over all tenants, for the operators' pages. Platform work."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate

from metering import clock
from metering.counting import TOKENS
from metering.models import LedgerLine, Subscription, UsageRecord
from tenants.models import Tenant

LAST_USE_WITHIN = timedelta(days=92)  # older use is not looked for: each month is a partition to ask
CHART_DAYS = 14
SHOWN = 10


@dataclass(frozen=True)
class Day:
    """Turns answered on one day, in UTC."""

    day: date
    turns: int


@dataclass(frozen=True)
class Today:
    """What the first page shows. Days are UTC; money is US dollars."""

    tenants: int
    new_tenants: int
    turns: int
    turns_yesterday: int
    spend: Decimal
    spend_yesterday: Decimal
    tokens: int
    days: list[Day] = field(default_factory=list)
    recent: list[LedgerLine] = field(default_factory=list)

    @property
    def cost_per_turn(self) -> Decimal:
        """Model spend over turns, today."""
        return self.spend / self.turns if self.turns else Decimal(0)


def today() -> Today:
    """How the platform is doing."""
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    now, before = _sums(midnight, clock.now()), _sums(midnight - timedelta(days=1), midnight)
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE)
    return Today(
        tenants=active.count(),
        new_tenants=active.filter(created_at__gte=midnight - timedelta(days=7)).count(),
        turns=now["turns"],
        turns_yesterday=before["turns"],
        spend=now["spend"] or Decimal(0),
        spend_yesterday=before["spend"] or Decimal(0),
        tokens=now["tokens"] or 0,
        days=_days(midnight),
        recent=list(LedgerLine.objects.select_related("tenant").order_by("-occurred_at")[:SHOWN]),
    )


def with_usage(tenants: QuerySet) -> QuerySet:
    """Tenants with ``plan_name``, ``month_allowed``, ``month_tokens`` (of answers, UTC month) and ``last_used``."""
    plan = Subscription.objects.filter(tenant=OuterRef("pk"))
    uses = UsageRecord.objects.filter(tenant=OuterRef("pk"))
    month = uses.filter(occurred_at__gte=clock.month().start, kind=UsageRecord.Kind.MODEL)
    recent = uses.filter(occurred_at__gte=clock.now() - LAST_USE_WITHIN)
    return tenants.annotate(
        plan_name=Subquery(plan.values("plan__name")),
        month_allowed=Subquery(plan.values("plan__tokens_per_month")),
        month_tokens=Subquery(month.order_by().values("tenant").annotate(sum=Sum(TOKENS)).values("sum")),
        last_used=Subquery(recent.order_by("-occurred_at").values("occurred_at")[:1]),
    )


def month_by_model(tenant: Tenant) -> list[dict]:
    """One tenant's month: ``model``, ``uses``, ``tokens``, ``spent``; most tokens first."""
    uses = UsageRecord.objects.filter(tenant=tenant, occurred_at__gte=clock.month().start)
    totals = uses.values("model").annotate(uses=Count("event_id"), tokens=Sum(TOKENS), spent=Sum("cost"))
    return list(totals.order_by("-tokens"))


def _sums(start: datetime, end: datetime) -> dict:
    return UsageRecord.objects.filter(occurred_at__gte=start, occurred_at__lt=end).aggregate(
        turns=Count("turn_id", distinct=True), spend=Sum("cost"), tokens=Sum(TOKENS)
    )


def _days(midnight: datetime) -> list[Day]:
    first = midnight - timedelta(days=CHART_DAYS - 1)
    rows = (
        UsageRecord.objects.filter(occurred_at__gte=first)
        .annotate(day=TruncDate("occurred_at"))
        .values_list("day")
        .annotate(turns=Count("turn_id", distinct=True))
        .order_by()
    )
    found = dict(rows)
    return [Day(day, found.get(day, 0)) for day in ((first + timedelta(days=n)).date() for n in range(CHART_DAYS))]
