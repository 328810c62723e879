"""Finds tenants by host or id, before any context exists. Kept in the process for some seconds."""

import logging
import time
from dataclasses import dataclass

from django.conf import settings

from tenants import names
from tenants.context import TenantRef, learn_move
from tenants.crypto import Unreadable
from tenants.errors import NoAddress
from tenants.models import Domain, Move, Tenant

logger = logging.getLogger(__name__)

CACHE_SECONDS = 5
MOST_ENTRIES = 10_000
MOST_RENEWED = 150  # hosts that one query looks up
USED_SECONDS = 20  # after which a host counts as used no more


@dataclass(frozen=True)
class Platform:
    """The operators' own host."""


PLATFORM = Platform()
Found = TenantRef | Platform | None
# Each entry is what a host or id leads to, not anything that belongs to a tenant
_cache: dict[str | int, tuple[float, Found]] = {}
_asked: dict[str, float] = {}  # when a host was asked for last


def cached_host(host: str) -> tuple[bool, Found]:
    """``(True, what it leads to)`` when this process knows the host already; costs no query."""
    name = names.of_header(host)
    kept, now = _cache.get(name), time.monotonic()
    if kept is None or kept[0] <= now:
        return False, None
    _asked[name] = now
    return True, kept[1]


def by_host(host: str) -> Found:
    """The tenant of a verified domain, the platform, or None. There is no fallback."""
    name = names.of_header(host)
    if name == settings.PLATFORM_HOST:
        return PLATFORM
    known, found = cached_host(name)
    return found if known else _look_up(name)


def led_to(pairs: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of (host, tenant id) where the host leads to that tenant now: one query. Needs no context."""
    hosts = {host for host, _ in pairs}
    verified = Domain.objects.filter(domain__in=hosts, verified_at__isnull=False)
    return pairs & set(verified.values_list("domain", "tenant_id"))


def by_id(tenant_id: int) -> TenantRef | None:
    """The tenant with this id; None if there is none, or it is being erased or is."""
    kept = _cache.get(tenant_id)
    if kept and kept[0] > time.monotonic():
        return kept[1]
    tenants = Tenant.objects.select_related("database").exclude(state__in=Tenant.GONE)
    tenant = tenants.filter(pk=tenant_id).first()
    return _keep(tenant_id, tenant.ref() if tenant else None)


def has_moved(ref: TenantRef) -> bool:
    """Whether the tenant lives elsewhere than ``ref`` says, after its tables were missed there. Asks the database.

    The old place is fenced some milliseconds before the directory says the new one, so a move that is under way counts,
    and its end is awaited for a moment: at most 0.75 s of the thread that does this tenant's work, never of a loop.
    """
    for wait in (0, 0.05, 0.2, 0.5):
        time.sleep(wait)  # on a thread of this tenant's database, which has nothing to do until the move is over
        tenant = Tenant.objects.select_related("database").filter(pk=ref.id).first()
        if tenant is None:
            return False
        found = tenant.ref()
        if found.alias != ref.alias:
            learn_move(ref, found)
            forget()
            return True
        if not Move.objects.filter(state__in=Move.UNDER_WAY).exists():
            return False
    return True


def is_moving(tenant_id: int) -> bool:
    """Whether a move makes the tenant's writes wait. Asks the database, as that tenant."""
    return Move.objects.filter(tenant_id=tenant_id, state__in=Move.FREEZING).exists()


def all_active() -> list[TenantRef]:
    """Every tenant whose schema is ready, by id; but for those whose database has no address here, or no password."""
    ready = Tenant.objects.select_related("database").exclude(state__in=Tenant.NOT_READY)
    found = []
    for tenant in ready.order_by("pk"):
        try:
            found.append(tenant.ref())
        except (NoAddress, Unreadable) as error:  # its words name what is missing; where it was raised says no more
            logger.error("tenant left out", extra={"of_tenant": tenant.pk, "error": str(error)})  # noqa: TRY400
    return found


def forget() -> None:
    """Drop what this process remembers, after a tenant or domain has changed here."""
    _cache.clear()
    _asked.clear()


def _look_up(name: str) -> Found:
    """What a host leads to. The same query renews others: of a thousand tenants in use, each would need its own."""
    if not name:
        return _keep(name, None)
    _asked[name] = time.monotonic()
    hosts = [name, *_wearing_out(name)]
    domains = (
        Domain.objects.select_related("tenant__database")
        .filter(domain__in=hosts, verified_at__isnull=False)
        .exclude(tenant__state__in=Tenant.NOT_READY)
    )
    found = {domain.domain: domain.tenant for domain in domains}
    for other in hosts[1:]:
        _renew(other, found.get(other))
    return _keep(name, found[name].ref() if name in found else None)


def _wearing_out(name: str) -> list[str]:
    """Hosts that will soon have to be looked up anyway, the oldest first; forgets those nobody asks for any more."""
    now = time.monotonic()
    hosts = []
    for host, (until, _) in list(_cache.items()):  # in the order in which they were kept
        if until > now + CACHE_SECONDS / 2 or len(hosts) == MOST_RENEWED:
            break
        if not isinstance(host, str) or host == name:
            continue
        if now - _asked.get(host, 0) < USED_SECONDS:
            hosts.append(host)
        elif until <= now:
            _cache.pop(host, None)
            _asked.pop(host, None)
    return hosts


def _renew(host: str, tenant: Tenant | None) -> None:
    try:
        _keep(host, tenant.ref() if tenant else None)
    except NoAddress:
        _cache.pop(host, None)  # whoever asks for it is told


def _keep(key: str | int, found: Found) -> Found:
    if len(_cache) >= MOST_ENTRIES:
        forget()
    before = _cache.pop(key, (0, None))[1]
    if isinstance(before, TenantRef) and before == found and before.alias != found.alias:
        learn_move(before, found)
    _cache[key] = (time.monotonic() + CACHE_SECONDS, found)
    return found
