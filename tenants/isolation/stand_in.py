"""The synthetic tenant that every check reaches for: permanent, nobody's customer, and no address leads to it."""

from tenants import directory, names, provisioning
from tenants.context import TenantRef, acting_for_platform
from tenants.models import Domain, Tenant


def get() -> TenantRef:
    """The synthetic tenant, made when it is asked for first. Raises Conflict while another run is making it."""
    with acting_for_platform("isolation check"):
        found = Tenant.objects.select_related("database").filter(slug=names.STAND_IN)
        if not found.filter(state=Tenant.State.ACTIVE).exists():
            provisioning.create(
                name=names.STAND_IN_NAME,
                slug=names.STAND_IN,
                vertical="it_support",
                plan="free",
                by="isolation check",
                synthetic=True,
            )
        if Domain.objects.filter(tenant__slug=names.STAND_IN, verified_at__isnull=False).update(verified_at=None):
            directory.forget()  # its host leads nowhere
        return found.get().ref()
