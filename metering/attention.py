"""What an operator should look at: what stands still, runs out, or was left half done. Platform work."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone
from redis import RedisError

from metering import operations
from metering.usage import NEARLY_PERCENT
from platform_site.tasks import HEARTBEAT_KEY
from tenants import room, store
from tenants.keys import system_key
from tenants.models import Database, DomainClaim, Move, Tenant

STUCK_AFTER = timedelta(minutes=10)
FAILED_WITHIN = timedelta(days=1)
SHOWN = 10
SLOW_READING_KEY = system_key("models", "slow reading")  # the version of a litellm that reads our answers itself


@dataclass(frozen=True)
class Notice:
    """Something an operator should look at."""

    subject: str
    text: str
    label: str
    tone: str
    tenant: Tenant | None = None
    percent: int | None = None


def notices() -> list[Notice]:
    """All of it, the worst first."""
    return [
        *_silent_worker(),
        *_no_room(),
        *_slow_reading(),
        *_moves(),
        *_unfinished_tenants(),
        *_sharing_though_regulated(),
        *_failing_domains(),
        *_nearly_full(),
    ]


def _moves() -> list[Notice]:
    """Those under way, and those that failed lately and were not ordered again."""
    lately = Q(state=Move.State.FAILED, created_at__gte=timezone.now() - FAILED_WITHIN)
    newest = Move.objects.select_related("tenant").order_by("tenant", "-created_at").distinct("tenant")
    found = Move.objects.filter(pk__in=newest.values("pk")).filter(lately | Q(state__in=Move.UNDER_WAY))
    return [_move_notice(move) for move in found.select_related("tenant").order_by("-created_at")[:SHOWN]]


def _move_notice(move: Move) -> Notice:
    if move.state == Move.State.FAILED:
        return Notice(move.tenant.name, f"It was not moved. {move.error}", "Move failed", "bad", move.tenant)
    return Notice(move.tenant.name, f"{move.get_state_display()}.", "Being moved", "info", move.tenant)


def _sharing_though_regulated() -> list[Notice]:
    tenants = Tenant.objects.exclude(state__in=Tenant.GONE).filter(regulated=True)
    sharing = tenants.filter(database__kind=Database.Kind.SHARED)
    text = "It is regulated, and shares its database with others. Move it to one of its own."
    return [
        Notice(tenant.name, text, "Shares a database", "warn", tenant) for tenant in sharing.order_by("-pk")[:SHOWN]
    ]


def _nearly_full() -> list[Notice]:
    tenants = operations.with_usage(Tenant.objects.exclude(state__in=Tenant.GONE)).filter(
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


def _slow_reading() -> list[Notice]:
    try:
        installed = store.client().get(SLOW_READING_KEY)
    except RedisError:  # _silent_worker says so
        return []
    if installed is None:
        return []
    text = (
        f"Answers are read at ten times the processor time: the installed litellm {installed.decode()} keeps them from "
        "Atrium. Install the version that requirements.txt names."
    )
    return [Notice("Models", text, "Slow", "warn")]
