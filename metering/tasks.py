"""The clock's work for the ledger."""

import logging

from celery import shared_task

from metering import ledger
from metering.outbox import pending
from tenants import directory
from tenants.context import acting_for
from tenants.tasks import PlatformTask

logger = logging.getLogger(__name__)


@shared_task(base=PlatformTask)
def relay() -> int:
    """Move waiting usage of all marked tenants to the ledger; return how many events. Twice changes nothing."""
    return sum(_relay_of(tenant_id) for tenant_id in pending.tenant_ids())


def _relay_of(tenant_id: int) -> int:
    tenant = directory.by_id(tenant_id)
    if tenant is None:
        pending.forget(tenant_id)
        return 0
    with acting_for(tenant):
        try:
            return ledger.relay_tenant()
        except Exception:  # one tenant's trouble must not hold back the others' usage
            logger.exception("usage not relayed")
            pending.mark()
            return 0
