"""Figures over all tenants, for the operators' pages. Platform work."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone
from redis import RedisError

from metering import clock
from metering.counting import TOKENS
from metering.models import LedgerLine, Subscription, UsageRecord
from metering.usage import NEARLY_PERCENT
from platform_site.tasks import HEARTBEAT_KEY
from tenants import room, store
from tenants.models import DomainClaim, Tenant

LAST_USE_WITHIN = timedelta(days=92)  # older use is not looked for: each month is a partition to ask
CHART_DAYS = 14
STUCK_AFTER = timedelta(minutes=10)
SHOWN = 10


@dataclass(frozen=True)
class Notice:
    """Something an operator should look at."""

    subject: str
    text: str
    label: str
    tone: str
    tenant: Tenant | None = None
    percent: int | None = None


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
    attention: list[Notice] = field(default_factory=list)

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
        attention=[
            *_silent_worker(),
            *_no_room(),
            *_unfinished_tenants(),
            *_failing_domains(),
            *_nearly_full(),
        ],
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


def _nearly_full() -> list[Notice]:
    tenants = with_usage(Tenant.objects.exclude(state__in=Tenant.GONE)).filter(
        month_tokens__gte=F("month_allowed") * NEARLY_PERCENT / 100
    )
    return [_full_notice(tenant) for tenant in tenants.order_by(F("month_tokens") * -1.0 / F("month_allowed"))[:SHOWN]]


def _full_notice(tenant: Tenant) -> Notice:
    percent = 100 * tenant.month_tokens // max(1, tenant.month_allowed)
    text = f"{tenant.month_tokens:,} of {tenant.month_allowed:,} tokens this month, on the plan {tenant.plan_name}."
    return Notice(
        tenant.name, text, f"{percent} % of plan", "bad" if percent >= 100 else "warn", tenant, min(100, percent)
    )


def _unfinished_tenants() -> list[Notice]:
    stuck = Tenant.objects.filter(state=Tenant.State.PROVISIONING, created_at__lt=timezone.now() - STUCK_AFTER)
    text = "Its set-up was interrupted. Run manage.py create_tenant with the same name again: it goes on where it was."
    return [Notice(tenant.name, text, "Not set up", "bad", tenant) for tenant in stuck.order_by("-pk")[:SHOWN]]


def _no_room() -> list[Notice]:
    text = room.lacking()
    return [Notice("Databases", text, "No room soon", "bad")] if text else []


def _failing_domains() -> list[Notice]:
    failing = DomainClaim.objects.select_related("tenant").filter(state=DomainClaim.State.FAILING)
    return [
        Notice(
            claim.tenant.name,
            f"The DNS record of {claim.name} is gone. It leads nowhere from {claim.kept_until:%-d %B, %H:%M} UTC on.",
            "Domain at risk",
            "warn",
            claim.tenant,
        )
        for claim in failing.order_by("failing_since")[:SHOWN]
    ]


def _silent_worker() -> list[Notice]:
    try:
        if store.client().exists(HEARTBEAT_KEY):
            return []
    except RedisError:
        return [Notice("Valkey", "It does not answer. Chats go on; limits are kept by the ledger.", "Down", "bad")]
    text = "No worker or no clock runs: documents are not read, and usage does not reach these pages."
    return [Notice("Background work", text, "Silent", "bad")]
