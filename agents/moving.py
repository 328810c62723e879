"""What a visitor is told whose message waits because the tenant is being moved."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from django.db import OperationalError

from agents import wire
from tenants import directory
from tenants.context import TenantRef, run_for

PATIENCE_SECONDS = 0.7  # after which a visitor wants to know what is going on
TEXT = "This service is being moved right now. Your message waits and is sent by itself in a moment."


async def patiently(work: Coroutine, tenant: TenantRef, tell: Callable[[wire.Error], Awaitable]):
    """Its result. Where it waits because the tenant is being moved, the visitor is told; it goes on by itself."""
    working = asyncio.create_task(work)
    await asyncio.wait({working}, timeout=PATIENCE_SECONDS)
    if not working.done() and await _is_moving(tenant):
        await tell(wire.Error(code="moving", text=TEXT))
    return await working


async def _is_moving(tenant: TenantRef) -> bool:
    try:
        return await run_for(tenant, directory.is_moving, tenant.id)
    except OperationalError:
        return False  # it is not the move that is waited for
