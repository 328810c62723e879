"""The isolation check of one tenant: every attempt, in both directions where it makes sense, and the stored result."""

import logging
import time

import psycopg

from platform_site.errors import BadInput, Conflict, PlatformError
from tenants import databases, directory, names, registry
from tenants.context import TenantRef, acting_for_platform
from tenants.isolation import catalogue, messages, schemas, shared_rows, stand_in, stores
from tenants.isolation.attempts import LEAKED, REFUSED, UNTRIED, Attempt, run
from tenants.models import IsolationCheck, Tenant

logger = logging.getLogger(__name__)
ANSWER_SECONDS = 2  # psycopg's least; an address with two hosts takes twice as long
BOTH_WAYS = (schemas.tries, shared_rows.tries, stores.tries, messages.tries, catalogue.tries)


def check(tenant: TenantRef) -> IsolationCheck:
    """Try to get from the tenant to the synthetic one and back; store and return what became of each attempt.

    Seconds, not milliseconds; reads no content of the tenant, and leaves nothing in it.
    Raises  BadInput  the tenant is the synthetic one
            Conflict  that one is being made right now, or the tenant has no schema to get at (yet, or any more)
    """
    if tenant.slug == names.STAND_IN:
        raise BadInput("This tenant is what the others are checked against.")
    if tenant.state in Tenant.NOT_READY:
        raise Conflict(f"{tenant.name} cannot be checked: {Tenant.State(tenant.state).label.lower()}.")
    with acting_for_platform(f"isolation check of tenant {tenant.id}"):
        started, other = time.monotonic(), stand_in.get()
        silent = [
            attempt for own, its_other in ((tenant, other), (other, tenant)) for attempt in _silent(own, its_other)
        ]
        attempts = silent or [  # without its database, each would wait in vain, one after the other
            *_all(tenant, other, [*BOTH_WAYS, *registry.probers().values()]),
            *_all(other, tenant, BOTH_WAYS),
        ]
        return IsolationCheck.objects.create(
            tenant_id=tenant.id,
            seconds=round(time.monotonic() - started, 3),
            ok=all(attempt.outcome == REFUSED for attempt in attempts),
            leaked=sum(attempt.outcome == LEAKED for attempt in attempts),
            attempts=[attempt.as_dict() for attempt in attempts],
        )


def check_all(tenants: list[TenantRef]) -> None:
    """Check one after the other; what is not sound is logged as an error."""
    for tenant in tenants:
        result = check(tenant)
        if not result.ok:
            codes = sorted({attempt["code"] for attempt in result.attempts if attempt["outcome"] != REFUSED})
            logger.error("isolation is not sound", extra={"of_tenant": tenant.id, "codes": codes})


def customers() -> list[TenantRef]:
    """Every tenant whose schema is ready, but for the synthetic one."""
    return [ref for ref in directory.all_active() if ref.slug != names.STAND_IN]


def _silent(own: TenantRef, other: TenantRef) -> list[Attempt]:
    """What is found instead of anything else where the database of ``own`` does not answer."""
    place = Tenant.objects.select_related("database").get(pk=own.id).database
    try:
        psycopg.connect(databases.address(place), connect_timeout=ANSWER_SECONDS).close()
    except (psycopg.OperationalError, PlatformError) as error:
        detail = f"“{place.name}” does not answer, so nothing was tried: {error}".strip()[:300]
        logger.warning("isolation not checked", extra={"of_tenant": own.id, "error": str(error)})
        return [Attempt("database.answers", "The tenant's database is asked whether it is there.", own.slug, other.slug,
                        UNTRIED, detail)]  # fmt: skip
    return []


def _all(own: TenantRef, other: TenantRef, sources: list) -> list[Attempt]:
    return [run(tried, own, other) for source in sources for tried in source(own, other)]
