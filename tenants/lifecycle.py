"""Pausing a tenant and letting it go on. Every process obeys within 5 seconds; nothing of the tenant is changed.

Doors ask `refuse_if_paused`; the state they see is the directory's, so it costs them no query. A tenant that is being
closed is paused for good, in words of its own. One that is being erased, or is, leads nowhere: the directory does not
know it any more.
"""

from django.db import transaction

from platform_site.errors import BadInput, Conflict, NotFound
from tenants import directory
from tenants.context import TenantRef, acting_for_platform, current, is_platform
from tenants.errors import TenantClosing, TenantPaused
from tenants.models import AuditEvent, Tenant

SUSPENDED, RESUMED = "tenant.suspended", "tenant.resumed"
REFUSALS = {
    Tenant.State.SUSPENDED: TenantPaused,
    Tenant.State.CLOSING: TenantClosing,
    Tenant.State.ERASING: TenantClosing,  # met only by sockets and caches of the seconds before
    Tenant.State.ERASED: TenantClosing,
}


def suspend(tenant: Tenant, *, by: str, reason: str) -> bool:
    """Pause an active tenant; return whether that changed anything.

    reason  its staff read it on every page of their portal
    Raises  BadInput  no reason;  Conflict  it is neither active nor paused
    """
    reason = reason.strip()
    if not reason:
        raise BadInput("Say why: the tenant's staff read it in their portal.")
    if not "".join(reason.split()).isprintable():
        raise BadInput("The reason holds characters that cannot be shown.")
    return _turn(tenant, Tenant.State.ACTIVE, Tenant.State.SUSPENDED, SUSPENDED, by, {"reason": reason})


def resume(tenant: Tenant, *, by: str) -> bool:
    """Let a paused tenant go on; return whether that changed anything. Raises Conflict: it is neither."""
    return _turn(tenant, Tenant.State.SUSPENDED, Tenant.State.ACTIVE, RESUMED, by, {})


def named(slug: str) -> Tenant:
    """The tenant with this slug. Platform work. Raises NotFound."""
    tenant = Tenant.objects.select_related("database").filter(slug=slug).first()
    if tenant is None:
        raise NotFound(f"There is no tenant “{slug}”. See manage.py tenants.")
    return tenant


def is_paused(ref: TenantRef) -> bool:
    """Whether it is paused or being closed, as this process knows it: at most 5 seconds old."""
    return ref.state in REFUSALS


def is_closing(ref: TenantRef) -> bool:
    """Whether it is paused because it leaves."""
    return REFUSALS.get(ref.state) is TenantClosing


def refuse_if_paused(ref: TenantRef) -> None:
    """Raises TenantPaused; its kind TenantClosing where the tenant leaves."""
    if is_paused(ref):
        raise _refusal(ref.state)


def refused_among(tenant_ids: list[int]) -> dict[int, TenantPaused]:
    """Which of these take in nothing now, each with what to say: one query. Needs no context."""
    found = Tenant.objects.filter(pk__in=tenant_ids, state__in=REFUSALS).values_list("pk", "state")
    return {tenant_id: _refusal(state) for tenant_id, state in found}


def reason() -> str:
    """Why the current tenant is paused, as its staff may read it; "" if it is being closed."""
    if is_closing(current()):
        return ""
    last = AuditEvent.objects.filter(action=SUSPENDED).order_by("-at").first()
    return last.details.get("reason", "") if last else ""


def _refusal(state: str) -> TenantPaused:
    return REFUSALS[state](retry_after=TenantPaused.RETRY_SECONDS)


def _turn(tenant: Tenant, before: str, after: str, action: str, by: str, details: dict) -> bool:
    if not is_platform():
        with acting_for_platform(f"{action} {tenant.slug}"):
            return _turn(tenant, before, after, action, by, details)
    with transaction.atomic(using="platform"):
        row = Tenant.objects.using("platform").select_for_update(of=["self"]).get(pk=tenant.pk)
        if row.state == after:
            return False
        if row.state != before:
            raise Conflict(f"“{row.name}” cannot be paused or resumed: {row.get_state_display().lower()}.")
        Tenant.objects.using("platform").filter(pk=row.pk).update(state=after)
        AuditEvent.objects.create(tenant_id=row.pk, actor=by, action=action, details=details)
    directory.forget()
    return True
