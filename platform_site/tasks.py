"""The clock's tasks that belong to no app."""

from celery import shared_task

from tenants import store
from tenants.keys import system_key
from tenants.tasks import PlatformTask

HEARTBEAT_KEY = system_key("heartbeat", "worker")
HEARTBEAT_SECONDS = 5


@shared_task(base=PlatformTask)
def heartbeat() -> None:
    """Proves that a clock and a worker are alive: /readyz looks for the key."""
    store.client().set(HEARTBEAT_KEY, "1", ex=6 * HEARTBEAT_SECONDS)
