"""For which hosts the front may get a certificate. Asked for every name that a stranger's browser brings to it.

A process knows all proved names and reads them anew when they are some seconds old. So a flood of made-up names asks
the database no more than silence does, keeps no real name waiting, and yes takes as long as no.
"""

from threading import Lock
from time import monotonic as now

from django.conf import settings

from tenants import names
from tenants.models import Domain, Tenant

KEPT_SECONDS = 5

_proved: frozenset[str] = frozenset()
_until = 0.0
_reading = Lock()


def may_be_issued(host: str) -> bool:
    """Whether a host is the operators' own or a domain whose proof stands.

    One that is failing still leads to its tenant, but its certificate is not renewed.
    """
    name = names.of_header(host)
    return name == settings.PLATFORM_HOST or name in _names()


def forget() -> None:
    """Drop what this process remembers."""
    global _until
    _until = 0.0


def _names() -> frozenset[str]:
    global _proved, _until
    if _until <= now():
        with _reading:  # one reads, the others wait for what it found
            if _until <= now():
                _proved, _until = _read(), now() + KEPT_SECONDS
    return _proved


def _read() -> frozenset[str]:
    proved = Domain.objects.filter(verified_at__isnull=False, failing=False)
    return frozenset(proved.exclude(tenant__state__in=Tenant.NOT_READY).values_list("domain", flat=True))
