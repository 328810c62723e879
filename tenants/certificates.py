"""For which hosts the front may get a certificate. Asked for every name that a stranger's browser brings to it.

Known answers are kept for some seconds, and a process asks the database about few unknown names a second, so a flood of
made-up names costs little and delays nobody else.
"""

from threading import Lock
from time import monotonic as now

from django.conf import settings

from platform_site.errors import TemporaryFailure
from tenants import names
from tenants.models import Domain, Tenant

KEPT_SECONDS = 5
MOST_KEPT = 10_000
LOOKUPS_A_SECOND = 50


class AskedTooOften(TemporaryFailure):
    """More unknown names within a second than this process looks up."""

    code = "asked_too_often"
    status = 429


# By name: until when the answer holds, and whether
_kept: dict[str, tuple[float, bool]] = {}
_lock = Lock()
_second, _lookups = 0, 0


def may_be_issued(host: str) -> bool:
    """Whether a host is the operators' own or a domain whose proof stands.

    One that is failing still leads to its tenant, but its certificate is not renewed. Raises AskedTooOften.
    """
    name = names.normalised(host) if host.isascii() else ""
    if not name or name == settings.PLATFORM_HOST:
        return bool(name)
    kept = _kept.get(name)
    if kept and kept[0] > now():
        return kept[1]
    _count()
    return _keep(name, _is_proved(name))


def forget() -> None:
    """Drop what this process remembers."""
    _kept.clear()


def _count() -> None:
    global _second, _lookups
    with _lock:
        second = int(now())
        _second, _lookups = second, (_lookups + 1 if second == _second else 1)
        if _lookups > LOOKUPS_A_SECOND:
            raise AskedTooOften("Too many unknown names.", retry_after=1)


def _is_proved(name: str) -> bool:
    proved = Domain.objects.filter(domain=name, verified_at__isnull=False, failing=False)
    return proved.exclude(tenant__state__in=Tenant.NOT_READY).exists()


def _keep(name: str, answer: bool) -> bool:
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[name] = (now() + KEPT_SECONDS, answer)
    return answer
