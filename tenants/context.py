"""Says for whom a unit of work happens: exactly one tenant, or the platform. Nothing else may say it.

The database backend, the router, cache keys, storage paths, Redis keys and log records read it; none of them keeps
a tenant of its own. Source: architecture, section 4; docs/decisions/0001.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Union

from channels.db import database_sync_to_async
from django.conf import settings

from tenants.errors import NoTenantContext

if TYPE_CHECKING:
    from tenants.models import Tenant

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TenantRef:
    """What the rest of the code needs to know of a tenant. Two refs with one id are equal, whatever their epoch."""

    id: int
    slug: str = field(compare=False)
    name: str = field(compare=False)
    schema: str = field(compare=False)
    role: str = field(compare=False)
    alias: str = field(compare=False)
    epoch: int = field(compare=False, default=1)
    timezone: str = field(compare=False, default="UTC")
    state: str = field(compare=False, default="active")
    wrapped_key: bytes = field(compare=False, default=b"", repr=False)


@dataclass(frozen=True)
class PlatformWork:
    """Operators' work across tenants, and why it is done."""

    reason: str


_current: ContextVar[TenantRef | PlatformWork | None] = ContextVar("atrium_context", default=None)


def current() -> TenantRef:
    """The tenant this work is for. Raises NoTenantContext."""
    ref = _current.get()
    if not isinstance(ref, TenantRef):
        raise NoTenantContext("this work is for no tenant: enter acting_for(tenant) first")
    return ref


def current_or_none() -> TenantRef | None:
    """The tenant this work is for, if it is for one."""
    ref = _current.get()
    return ref if isinstance(ref, TenantRef) else None


def is_platform() -> bool:
    """True inside acting_for_platform, and outside any tenant in it."""
    return isinstance(_current.get(), PlatformWork)


@contextmanager
def acting_for(tenant: Union["Tenant", TenantRef]) -> Iterator[TenantRef]:
    """Everything inside the block belongs to one tenant: rows, schema, database, key prefixes.

    Raises  RuntimeError  the block already acts for another tenant
    """
    ref = tenant if isinstance(tenant, TenantRef) else tenant.ref()
    outer = _current.get()
    if isinstance(outer, TenantRef) and outer != ref:
        raise RuntimeError(f"already acting for tenant {outer.id}, refusing tenant {ref.id}")
    token = _current.set(ref)  # the database backend reads it before every query
    try:
        yield ref
    finally:
        _current.reset(token)


@contextmanager
def acting_for_platform(reason: str) -> Iterator[None]:
    """Operators' work across tenants; row security does not bind it, so the reason is logged.

    Raises  RuntimeError  the block already acts for a tenant
    """
    outer = _current.get()
    if isinstance(outer, TenantRef):
        raise RuntimeError(f"already acting for tenant {outer.id}, refusing the platform")
    if outer is None:
        logger.info("platform work", extra={"reason": reason})
    token = _current.set(PlatformWork(reason))
    try:
        yield
    finally:
        _current.reset(token)


async def run_for(tenant: Union["Tenant", TenantRef], verb: Callable, /, *args, **kwargs):
    """Await a synchronous verb on a database thread, acting for the tenant; return its result.

    Cancelling the await does not stop the thread: the verb goes on and commits. So every verb is safe to repeat.
    """

    def call():
        with acting_for(tenant):
            return verb(*args, **kwargs)

    # database_sync_to_async gives each connection back to its pool after the verb, not only before the next one
    return await database_sync_to_async(call, thread_sensitive=False, executor=_threads())()


async def run_for_nobody(verb: Callable, /, *args, **kwargs):
    """Await a synchronous verb that needs no tenant yet (finding one) on a database thread."""
    return await database_sync_to_async(verb, thread_sensitive=False, executor=_threads())(*args, **kwargs)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.DATABASE_THREADS, thread_name_prefix="database")
