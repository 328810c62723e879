"""What can go wrong between tenants."""

from platform_site.errors import BadInput, Conflict, TemporaryFailure


class NoTenantContext(RuntimeError):
    """Tenant-owned data was asked for, and nothing says whose. A bug in the caller, never an answer to a user."""


class TenantMismatch(RuntimeError):
    """Work for one tenant touched what belongs to another. A bug in the caller, never an answer to a user."""


class BadName(BadInput):
    """A tenant's name, slug or host cannot be used; the text says why."""

    code = "bad_name"


class NameTaken(Conflict):
    """Another tenant has this name already."""

    code = "name_taken"


class TenantUnavailable(TemporaryFailure):
    """The tenant's database does not answer, or the tenant is being moved."""

    code = "tenant_unavailable"
