"""The clock's tasks that belong to no app."""

from celery import shared_task

from tenants import directory, domains, room, store
from tenants.context import acting_for
from tenants.isolation import checking
from tenants.keys import system_key
from tenants.sessions import SessionStore
from tenants.tasks import PlatformTask

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
        with acting_for(tenant):
            SessionStore.clear_expired()


@shared_task(base=PlatformTask)
def keep_room() -> None:
    """Open the next shared database before all are full. Twice at once opens one."""
    room.keep(by="the clock")


@shared_task(base=PlatformTask)
def check_isolation() -> None:
    """Try every tenant against the synthetic one; what is not sound is logged as an error."""
    checking.check_all(checking.customers())


@shared_task(base=PlatformTask)
def check_domains() -> None:
    """Look for the DNS records of the domains that are due, also of those that an operator wants to know about now."""
    domains.check_due()
