"""Reads again, after an answer, what a busy tenant's next question would have to wait for."""

import logging

from django.db import DatabaseError

from agents import publishing
from metering import plans
from platform_site.errors import PlatformError
from tenants.context import TenantRef, begin_for

logger = logging.getLogger(__name__)

_renewing: set[int] = set()  # by tenant id, what is under way: answers that end meanwhile begin no other


def begin(tenant: TenantRef) -> None:
    """On a thread, if anything expires soon; nobody waits for it."""
    if tenant.id not in _renewing and (publishing.expires_soon(tenant.id) or plans.expires_soon(tenant.id)):
        begun = begin_for(tenant, _refresh)
        _renewing.add(tenant.id)
        begun.add_done_callback(lambda _: _renewing.discard(tenant.id))


def _refresh() -> None:
    try:
        publishing.refresh()
        plans.refresh()
    except (DatabaseError, PlatformError) as error:  # the next question asks itself, and is told
        logger.info("not renewed", extra={"error": type(error).__name__})
    except Exception:  # the outermost frame of work that nobody awaits
        logger.exception("not renewed")
