"""The invitation of a new tenant's first owner: whoever ordered the tenant gets its link, also after a kill.

A run that ended before it could show the link leaves the tenant without the entry of `was_told` in its audit trail; the
next run for the same name invites again, and the link that nobody saw is void.
"""

from dataclasses import dataclass

from tenants import names, provisioning
from tenants.accounts import invitations
from tenants.accounts.models import User
from tenants.context import acting_for
from tenants.models import AuditEvent, Tenant

TOLD = "tenant.owner_invited"


@dataclass(frozen=True)
class Invited:
    """The owner's link, and whether the mail server took it."""

    link: str
    is_mailed: bool


def awaited(name: str, *, by: str) -> Tenant | None:
    """The tenant of this name that ``by`` made and that has neither staff nor a link anybody saw. Platform work."""
    tenant = Tenant.objects.filter(name__iexact=names.checked_name(name), state=Tenant.State.ACTIVE).first()
    trail = AuditEvent.objects.filter(tenant=tenant)
    if tenant is None or trail.filter(action=TOLD).exists():
        return None
    if not trail.filter(action=provisioning.CREATED, actor=by).exists():
        return None
    with acting_for(tenant):
        return None if User.objects.exists() else tenant


def invite(tenant: Tenant, *, email: str) -> Invited:
    """Invite the owner; an earlier invitation to the same address is void. Raises BadInput."""
    with acting_for(tenant):
        try:
            return Invited(invitations.invite(email=email, role="owner", by="the platform"), is_mailed=True)
        except invitations.NotMailed as error:
            return Invited(error.link, is_mailed=False)


def was_told(tenant: Tenant, *, by: str) -> None:
    """Note that the link was shown: from now on the name is taken."""
    with acting_for(tenant):
        AuditEvent.objects.create(actor=by, action=TOLD)
