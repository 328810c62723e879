"""What a process remembers of its tenants for some seconds, so that not every message asks the database for it."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from tenants.context import current

LIFETIME_SECONDS = 5  # within which a change that another process made shows

Value = TypeVar("Value")


class TenantCache(Generic[Value]):
    """Values of each tenant. Threads share them, so what is kept must not be changed.

    read              gives the current tenant's value of a key; what it raises is not kept
    lifetime_seconds  LIFETIME_SECONDS unless given
    """

    def __init__(self, read: Callable[..., Value], lifetime_seconds: float | None = None):
        self._read, self._given = read, lifetime_seconds
        self._known: dict[int, dict[tuple, tuple[float, Value]]] = {}  # by tenant id and key: until when, what

    def get(self, *key) -> Value:
        """The current tenant's value, no older than its lifetime. Raises NoTenantContext, and what ``read`` does."""
        until, value = self._known.get(current().id, {}).get(key, (0.0, None))
        return value if until > time.monotonic() else self._read_anew(key)

    def expires_soon(self, tenant_id: int) -> bool:
        """Whether the next to ask may have to wait for the database, though somebody asked lately."""
        return bool(self._expiring(tenant_id))

    def refresh(self) -> None:
        """Read the current tenant's again that expire soon, for nobody waits now. Raises what ``read`` does."""
        for key in self._expiring(current().id):
            self._read_anew(key)

    def last_known(self, tenant_id: int, *key) -> Value | None:
        """However old it is."""
        return self._known.get(tenant_id, {}).get(key, (0.0, None))[1]

    def forget(self, tenant_id: int | None = None) -> None:
        """It has changed here: of one tenant, or of any."""
        if tenant_id is None:
            self._known.clear()
        else:
            self._known.pop(tenant_id, None)

    @property
    def _lifetime_seconds(self) -> float:
        return LIFETIME_SECONDS if self._given is None else self._given  # as it is now: tests shorten it

    def _read_anew(self, key: tuple) -> Value:
        known = self._known.setdefault(current().id, {})
        until = time.monotonic() + self._lifetime_seconds  # before: it may be old by the time it arrives
        value = self._read(*key)
        if known.get(key, (0.0, None))[0] <= until:  # else a later read was faster
            known[key] = (until, value)  # if it was forgotten meanwhile, nobody looks there
        return value

    def _expiring(self, tenant_id: int) -> list[tuple]:
        now = time.monotonic()
        known = self._known.get(tenant_id, {}).copy()
        return [key for key, (until, _) in known.items() if now < until < now + self._lifetime_seconds / 2]
