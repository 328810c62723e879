"""What a process remembers of its tenants for some seconds, so that not every message asks the database for it."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from tenants.context import current

SECONDS = 5  # within which a change that another process made shows

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values of each tenant. Threads share them, so what is kept must not be changed.

    read  gives the current tenant's value of a key; what it raises is not kept
    """

    def __init__(self, read: Callable[..., Value]):
        self._read = read
        self._known: dict[int, dict[tuple, tuple[float, Value]]] = {}  # by tenant id and key: until when, what

    def get(self, *key) -> Value:
        """The current tenant's value, at most SECONDS old."""
        until, value = self._known.get(current().id, {}).get(key, (0.0, None))
        return value if until > time.monotonic() else self._renewed(key)

    def ends_soon(self, tenant_id: int) -> bool:
        """Whether the next to ask may have to wait for the database, though somebody asked lately."""
        return bool(self._ending(tenant_id))

    def renew(self) -> None:
        """Read again what ends soon, for nobody waits now."""
        for key in self._ending(current().id):
            self._renewed(key)

    def last(self, tenant_id: int, *key) -> Value | None:
        """What was known last, however old."""
        return self._known.get(tenant_id, {}).get(key, (0.0, None))[1]

    def forget(self, tenant_id: int | None = None) -> None:
        """It has changed here: of one tenant, or of any."""
        if tenant_id is None:
            self._known.clear()
        else:
            self._known.pop(tenant_id, None)

    def _renewed(self, key: tuple) -> Value:
        known = self._known.setdefault(current().id, {})
        value = self._read(*key)
        known[key] = (time.monotonic() + SECONDS, value)  # nobody looks there any more if it was forgotten meanwhile
        return value

    def _ending(self, tenant_id: int) -> list[tuple]:
        now = time.monotonic()
        known = self._known.get(tenant_id, {}).copy()
        return [key for key, (until, _) in known.items() if now < until < now + SECONDS / 2]
