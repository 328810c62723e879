"""The platform's tasks that belong to no app: the clock's, and what operators order on their pages."""

import logging
from uuid import UUID

from celery import shared_task
from django.db import DatabaseError

from platform_site.errors import TemporaryFailure
from tenants import directory, domains, operator_letters, own_domains, relocation, room, store
from tenants.context import acting_for
from tenants.isolation import checking, runs
from tenants.keys import system_key
from tenants.sessions import SessionStore
from tenants.tasks import PlatformTask

logger = logging.getLogger(__name__)
HEARTBEAT_KEY = system_key("heartbeat", "worker")
HEARTBEAT_SECONDS = 5


@shared_task(base=PlatformTask)
def heartbeat() -> None:
    """Proves that a clock and a worker are alive: /readyz looks for the key."""
    store.client().set(HEARTBEAT_KEY, "1", ex=6 * HEARTBEAT_SECONDS)


@shared_task(base=PlatformTask)
def clear_sessions() -> None:
    """Remove the expired sessions of operators and of each tenant's staff."""
    SessionStore.clear_expired()
    for tenant in directory.all_active():
        try:
            with acting_for(tenant):
                SessionStore.clear_expired()
        except (DatabaseError, TemporaryFailure) as error:  # its database is away; the others are not to wait for it
            logger.warning("sessions not cleared", extra={"of_tenant": tenant.id, "error": str(error)})


@shared_task(base=PlatformTask)
def keep_room() -> None:
    """Open the next shared database before all are full; where that fails, tell the operators. Twice opens one."""
    try:
        room.keep(by="the clock")
    finally:
        operator_letters.tell_of_room()


@shared_task(base=PlatformTask)
def check_isolation() -> None:
    """Try every tenant against the synthetic one; what is not sound is logged as an error."""
    checking.check_all(checking.customers())


@shared_task(base=PlatformTask)
def check_domains() -> None:
    """Look for the DNS records of the domains that are due, also of those that an operator wants to know about now."""
    domains.check_due()


@shared_task(base=PlatformTask)
def check_domain(*, claim_id: str, tenant_id: int) -> None:
    """Look for the record of one domain, because its tenant's staff want to know now."""
    own_domains.carry_out_check(UUID(claim_id), tenant_id)


@shared_task(base=PlatformTask)
def release_domain(*, claim_id: str, tenant_id: int, by: str) -> None:
    """End one claim on the word of its tenant's staff. Twice changes nothing."""
    own_domains.carry_out_release(UUID(claim_id), tenant_id, by=by)


@shared_task(base=PlatformTask)
def check_isolation_of(*, run: str, tenant_id: int, by: str) -> None:
    """Check one tenant of those that an operator has chosen."""
    runs.carry_out(UUID(run), tenant_id, by=by)


@shared_task(base=PlatformTask)
def finish_move(*, move_id: str) -> None:
    """Remove a move's old copy before its day is over. Twice changes nothing."""
    relocation.carry_out_finish(UUID(move_id))
