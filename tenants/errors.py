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


class TenantPaused(TemporaryFailure):
    """An operator has paused the tenant: nothing new is taken in. details: retry_after (seconds)"""

    code = "tenant_paused"
    text = "This service is paused."
    RETRY_SECONDS = 60


class TenantClosing(TenantPaused):
    """The tenant has left or is leaving: nothing new is taken in, and nobody will let it go on by himself."""

    code = "tenant_closing"
    text = "This service is being closed."


class AddressGone(TenantPaused):
    """The host name that a socket came by leads to its tenant no longer."""

    code = "address_gone"
    text = "This address does not lead here any more."


class TenantUnavailable(TemporaryFailure):
    """The tenant's database does not answer, or the tenant is being moved."""

    code = "tenant_unavailable"


class NoAddress(TenantUnavailable):
    """This process does not know where a database is. The text names its environment variable, for operators."""

    code = "no_address"


class TenantMoved(TenantUnavailable):
    """The tenant has left the place where this work looked for it; begun again, the work finds it."""


class QueueSilent(TemporaryFailure):
    """No worker can be told of work now."""

    code = "queue_silent"
    text = "No worker can be told of it now: the queue does not answer."


class NoLock(TenantUnavailable):
    """A move could not make the tenant's writes wait, because others worked too long. Nothing was changed."""

    code = "no_lock"
    RETRY_SECONDS = 60


class CopyDiffers(Conflict):
    """Source and copy do not agree; the copy was thrown away."""

    code = "copy_differs"


class MoveCancelled(Conflict):
    """An operator cancelled the move while it ran; the copy was thrown away."""

    code = "move_cancelled"
