"""Says for whom a unit of work happens: exactly one tenant, or the platform. Nothing else may say it.

The database backend, the router, cache keys, storage paths, Redis keys and log records read it; none of them keeps
a tenant of its own. Source: architecture, section 4; docs/decisions/0001.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Union

from django.conf import settings
from django.db import close_old_connections

from tenants.errors import NoTenantContext, TenantMoved

if TYPE_CHECKING:
    from tenants.models import Tenant

logger = logging.getLogger(__name__)
MOVE_SECONDS = 60  # for which work waits when a move makes its tenant's writes wait


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


# By tenant id and the alias it has left: where it lives now, as far as this process has noticed
_moved: dict[tuple[int, str], TenantRef] = {}
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


def learn_move(old: TenantRef, new: TenantRef) -> None:
    """Whoever still holds ``old`` acts for ``new`` from now on: sockets keep their ref for hours."""
    _moved.pop((new.id, new.alias), None)  # it may have come back
    if old.alias != new.alias:
        _moved[old.id, old.alias] = new


def newest(ref: TenantRef) -> TenantRef:
    """The same tenant where it lives now, as far as this process knows."""
    while later := _moved.get((ref.id, ref.alias)):
        ref = later
    return ref


@contextmanager
def acting_for(tenant: Union["Tenant", TenantRef]) -> Iterator[TenantRef]:
    """Everything inside the block belongs to one tenant: rows, schema, database, key prefixes.

    Raises  RuntimeError  the block already acts for another tenant
    """
    ref = newest(tenant if isinstance(tenant, TenantRef) else tenant.ref())
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

    While the tenant is moved it is begun again, for MOVE_SECONDS, with no thread held in between.
    Cancelling the await does not stop the thread: the verb goes on and commits. So every verb is safe to repeat.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + MOVE_SECONDS
    while True:
        try:
            return await _on_a_thread(_alias_of(tenant), partial(act_for, tenant, verb, *args, **kwargs))
        except TenantMoved:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(0.2)


async def run_for_nobody(verb: Callable, /, *args, **kwargs):
    """Await a synchronous verb that needs no tenant yet (finding one) on a database thread."""
    return await _on_a_thread("default", partial(verb, *args, **kwargs))


def act_for(tenant: Union["Tenant", TenantRef], verb: Callable, /, *args, **kwargs):
    """The verb's result, acting for the tenant; begun once more where the tenant has been moved meanwhile.

    The verb must be safe to repeat: a transaction that met the move kept nothing, one before it may have.
    """
    try:
        with acting_for(tenant):
            return verb(*args, **kwargs)
    except TenantMoved:
        with acting_for(tenant):
            return verb(*args, **kwargs)


def begin_for(tenant: Union["Tenant", TenantRef], verb: Callable, /, *args) -> Future:
    """Begin a synchronous verb beside those of ``run_for``, acting for the tenant; any thread may wait for its result.

    They have settings.BESIDE_THREADS threads of their own for each database: a service, or a database, that keeps
    these waiting keeps no other verb so.
    Returns  a Future whose result() raises what the verb does; a verb that none waits for must log it itself
    """
    return _begin(
        partial(act_for, tenant, verb, *args), _threads(f"beside {_alias_of(tenant)}", settings.BESIDE_THREADS)
    )


def _alias_of(tenant: Union["Tenant", TenantRef]) -> str:
    return newest(tenant).alias if isinstance(tenant, TenantRef) else "default"


def _on_a_thread(alias: str, call: Callable) -> asyncio.Future:
    """The result of ``call`` on a thread of this database: one that does not answer holds up no other's work."""
    return asyncio.wrap_future(_begin(call, _threads(f"database {alias}", settings.DATABASE_THREADS)))


def _begin(call: Callable, threads: ThreadPoolExecutor) -> Future:
    """``call`` on one of the threads, in a copy of this context."""
    result = Future()
    threads.submit(copy_context().run, _work, call, result)
    return result


def _work(call: Callable, result: Future) -> None:
    """Say what came of the call first, then give its connections back to their pools: nobody waits for that.

    They go back after every call, not only before the thread's next one, for which others would wait in vain.
    """
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(call())
    except StopIteration as stop:
        # an asyncio future refuses it where nobody sees, and whoever awaits the verb would wait for ever
        result.set_exception(RuntimeError(f"a verb let {stop!r} out"))
    except BaseException as error:  # noqa: BLE001  whoever awaits the verb gets it
        result.set_exception(error)
    try:
        close_old_connections()
    except Exception:  # the outermost frame of a thread's work
        logger.exception("a connection was not given back")


@cache
def _threads(name: str, count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix=name)
