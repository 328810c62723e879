"""The open sockets of this process by tenant, so that those of a paused or closing tenant can be closed.

Each process looks for itself, with one query for all its tenants: no message can be missed, and Valkey may be away.
"""

import asyncio
import logging
from collections import defaultdict
from typing import Protocol

from platform_site import rounds
from tenants import directory, lifecycle
from tenants.context import run_for_nobody
from tenants.errors import TenantPaused

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2  # a paused tenant's sockets are closed within 5
TELL_SECONDS = 2  # one that reads nothing holds up no other; it is dropped for that
_open: dict[int, set["Socket"]] = defaultdict(set)
_watching: asyncio.Task | None = None


class Socket(Protocol):
    """What can be told that its tenant is paused."""

    async def pause(self, error: TenantPaused) -> None:
        """Say so and close."""


def enter(tenant_id: int, socket: Socket) -> None:
    """A socket was accepted. The first one starts the watch."""
    global _watching
    _open[tenant_id].add(socket)
    if _watching is None or _watching.done():
        looks = rounds.every(LOOK_SECONDS, close_paused, fault="paused tenants not looked for", wanted=lambda: _open)
        _watching = asyncio.create_task(looks, name="paused tenants")


def leave(tenant_id: int, socket: Socket) -> None:
    """A socket has gone."""
    _open[tenant_id].discard(socket)
    if not _open[tenant_id]:
        del _open[tenant_id]


async def close_paused() -> None:
    """Close the sockets of tenants that are paused now."""
    refused = await run_for_nobody(lifecycle.refused_among, list(_open))
    if not refused:
        return
    directory.forget()  # or a new socket would be let in for the rest of 5 seconds
    told = [_tell(socket, error) for tenant_id, error in refused.items() for socket in _open.get(tenant_id, ())]
    for result in await asyncio.gather(*told, return_exceptions=True):
        if isinstance(result, Exception):
            logger.info("a socket had gone before it was closed", extra={"error": type(result).__name__})


async def _tell(socket: Socket, error: TenantPaused) -> None:
    async with asyncio.timeout(TELL_SECONDS):
        await socket.pause(error)
