"""What a tenant's own staff does about its domains, in its own context: claim one, have it looked for, let it go.

A claim is the tenant's own row. What leads where is the platform's to change, so a worker concludes and releases.
"""

import logging
from uuid import UUID

from django.db import IntegrityError
from django.utils import timezone

from platform_site import tasks as clock_tasks
from platform_site.errors import Conflict, NotFound
from tenants import domains, names
from tenants.context import current
from tenants.models import Domain, DomainClaim

logger = logging.getLogger(__name__)
MOST = 20  # claims that have not ended, of one tenant: each is looked for again and again
AGAIN_SECONDS = 5  # between two looks that staff ask for


def claims() -> list[DomainClaim]:
    """The current tenant's claims that have not ended, by name."""
    return list(DomainClaim.objects.filter(state__in=DomainClaim.LIVE).order_by("name"))


def addresses() -> list[Domain]:
    """The host names that lead to the current tenant, its main one first."""
    mine = Domain.objects.filter(tenant_id=current().id, verified_at__isnull=False)
    return list(mine.order_by("-is_primary", "domain"))


def find(claim_id: UUID) -> DomainClaim:
    """A claim of the current tenant, also one that has ended. Raises NotFound."""
    claim = DomainClaim.objects.filter(pk=claim_id).first()
    if claim is None:
        raise NotFound
    return claim


def find_live(claim_id: UUID) -> DomainClaim:
    """The same, of those that have not ended. Raises NotFound."""
    claim = find(claim_id)
    if claim.state not in DomainClaim.LIVE:
        raise NotFound
    return claim


def claim(host: str, *, by: str) -> DomainClaim:
    """Claim a host for the current tenant; asked twice, the claim that has not ended.

    Raises  BadName   it cannot be a domain of a tenant's own
            Conflict  the tenant claims as many as it may
    """
    name, live = names.checked_domain(host), DomainClaim.objects.filter(state__in=DomainClaim.LIVE)
    if found := live.filter(name=name).first():
        return found
    if live.count() >= MOST:
        raise Conflict(f"You claim {MOST} domains already. Remove one that you do not need first.")
    try:
        return domains.write(current().id, name, by=by, using="default")
    except IntegrityError:  # claimed twice at the same moment
        return live.get(name=name)


def order_check(claim: DomainClaim) -> None:
    """Let a worker look for the claim's record now. Raises QueueSilent."""
    clock_tasks.check_domain.order(claim_id=str(claim.pk), tenant_id=current().id)


def order_release(claim: DomainClaim, *, by: str) -> None:
    """Let a worker end the claim; its name leads nowhere some seconds later. Raises QueueSilent."""
    clock_tasks.release_domain.order(claim_id=str(claim.pk), tenant_id=current().id, by=by)


def carry_out_check(claim_id: UUID, tenant_id: int) -> None:
    """What a worker does with the order to look: platform work. Somebody who asks again and again is not obeyed."""
    claim = _of(tenant_id, claim_id)
    if claim is None or claim.state not in DomainClaim.LIVE:
        return
    if claim.checked_at and (timezone.now() - claim.checked_at).total_seconds() < AGAIN_SECONDS:
        return
    domains.check(claim)


def carry_out_release(claim_id: UUID, tenant_id: int, *, by: str) -> None:
    """What a worker does with the order to release: platform work."""
    if claim := _of(tenant_id, claim_id):
        domains.release(claim, by=by, of_staff=True)


def _of(tenant_id: int, claim_id: UUID) -> DomainClaim | None:
    """The claim, if it is this tenant's: the order names both."""
    claim = DomainClaim.objects.select_related("tenant").filter(pk=claim_id, tenant_id=tenant_id).first()
    if claim is None:
        logger.warning("no such domain claim", extra={"of_tenant": tenant_id, "claim": str(claim_id)})
    return claim
