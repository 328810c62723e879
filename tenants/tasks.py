"""The two kinds of Celery task: one tenant's work, and the platform's; and what the worker does for moves.

The tenant travels in the message header; the worker enters its context again, so a task's code never names one.
"""

import logging
from uuid import UUID

from celery import Task, shared_task
from celery.exceptions import OperationalError, Reject

from tenants import directory
from tenants.context import act_for, acting_for_platform, current
from tenants.errors import QueueSilent
from tenants.moves import orders

logger = logging.getLogger(__name__)
HEADER = "atrium_tenant"


class TenantTask(Task):
    """Runs acting for the tenant in its header. A message without a known tenant is refused, not guessed."""

    abstract = True
    refusal_level = logging.ERROR

    def apply_async(self, args=None, kwargs=None, **options):
        headers = {**(options.pop("headers", None) or {}), HEADER: current().id}
        return super().apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args, **kwargs):
        tenant_id = self.request.get(HEADER)
        ref = directory.by_id(tenant_id) if isinstance(tenant_id, int) else None
        if ref is None:
            logger.log(self.refusal_level, "task without a known tenant", extra={"task": self.name})
            raise Reject("no such tenant", requeue=False)
        return act_for(ref, super().__call__, *args, **kwargs)


class PlatformTask(Task):
    """Runs as platform work: relays, sweeps, roll-ups."""

    abstract = True

    def order(self, **kwargs) -> None:
        """Let a worker do it, on the word of somebody who waits for the answer. Raises QueueSilent."""
        try:
            self.delay(**kwargs)
        except OperationalError as error:
            raise QueueSilent from error

    def __call__(self, *args, **kwargs):
        with acting_for_platform(f"task {self.name}"):
            return super().__call__(*args, **kwargs)


@shared_task(base=PlatformTask)
def run_move(*, move_id: str) -> None:
    """Bring a move to its end. Twice changes nothing: one process at a time moves a tenant."""
    orders.carry_out(UUID(move_id))


@shared_task(base=PlatformTask)
def resume_moves() -> None:
    """Go on with moves whose process died: their tenants may be waiting."""
    orders.resume_dead()


@shared_task(base=PlatformTask)
def look_after_moves() -> None:
    """Drop the copies that moves left, or whose time is over."""
    orders.finish_due()
    orders.clear_left()
