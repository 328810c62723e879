"""Pausing a tenant and letting it go on. Every process obeys within 5 seconds; nothing of the tenant is changed.

Doors ask `refuse_if_paused`; the state they see is the directory's, so it costs them no query.
"""

from django.db import transaction

from platform_site.errors import BadInput, Conflict, NotFound
from tenants import directory
from tenants.context import TenantRef, acting_for_platform, is_platform
from tenants.errors import TenantPaused
from tenants.models import AuditEvent, Tenant

SUSPENDED, RESUMED = "tenant.suspended", "tenant.resumed"


def suspend(tenant: Tenant, *, by: str, reason: str) -> bool:
    """Pause an active tenant; return whether that changed anything.

    reason  its staff read it on every page of their portal
    Raises  BadInput  no reason;  Conflict  it is neither active nor paused
    """
    reason = reason.strip()
    if not reason:
        raise BadInput("Say why: the tenant's staff read it in their portal.")
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
    """Whether it is paused, as this process knows it: at most 5 seconds old."""
    return ref.state == Tenant.State.SUSPENDED


def refuse_if_paused(ref: TenantRef) -> None:
    """Raises TenantPaused."""
    if is_paused(ref):
        raise TenantPaused(retry_after=TenantPaused.RETRY_SECONDS)


def paused_among(tenant_ids: list[int]) -> set[int]:
    """Which of these are paused now: one query. Needs no context."""
    return set(Tenant.objects.filter(pk__in=tenant_ids, state=Tenant.State.SUSPENDED).values_list("pk", flat=True))


def reason() -> str:
    """Why the current tenant is paused, as its staff may read it."""
    last = AuditEvent.objects.filter(action=SUSPENDED).order_by("-at").first()
    return last.details.get("reason", "") if last else ""


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
