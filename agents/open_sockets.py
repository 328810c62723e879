"""The open sockets of this process by tenant, so that those of a paused or closing tenant can be closed.

So can those that came by a host which leads to the tenant no longer: its domain was given up, or is another's.

Each process looks for itself, with one query for all its tenants: no message can be missed, and Valkey may be away.
"""

import asyncio
import logging
from collections import defaultdict
from typing import Protocol

from platform_site import rounds
from tenants import directory, lifecycle
from tenants.context import run_for_nobody
from tenants.errors import AddressGone, TenantPaused

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2  # a paused tenant's sockets are closed within 5
TELL_SECONDS = 2  # one that reads nothing holds up no other; it is dropped for that
_open: dict[int, set["Socket"]] = defaultdict(set)
_watching: asyncio.Task | None = None


class Socket(Protocol):
    """What can be told that its tenant is paused. ``scope["host"]``: the name that it came by, normalised."""

    scope: dict

    async def pause(self, error: TenantPaused) -> None:
        """Say so and close."""


def enter(tenant_id: int, socket: Socket) -> None:
    """A socket was accepted. The first one starts the watch."""
    global _watching
    _open[tenant_id].add(socket)
    if _watching is None or _watching.done():
        looks = rounds.every(
            LOOK_SECONDS, close_refused, fault="sockets to be closed not looked for", wanted=lambda: _open
        )
        _watching = asyncio.create_task(looks, name="sockets to be closed")


def leave(tenant_id: int, socket: Socket) -> None:
    """A socket has gone."""
    _open[tenant_id].discard(socket)
    if not _open[tenant_id]:
        del _open[tenant_id]


async def close_refused() -> None:
    """Close the sockets of tenants that are paused now, and those whose host leads elsewhere now."""
    await _close([*await _paused(), *await _lost()])


async def _paused() -> list[tuple[Socket, TenantPaused]]:
    refused = await run_for_nobody(lifecycle.refused_among, list(_open))
    return [(socket, error) for tenant_id, error in refused.items() for socket in _open.get(tenant_id, ())]


async def _lost() -> list[tuple[Socket, TenantPaused]]:
    came_by = [(socket, (socket.scope["host"], tenant_id)) for tenant_id, here in _open.items() for socket in here]
    leading = await run_for_nobody(directory.led_to, {pair for _, pair in came_by})
    return [
        (socket, AddressGone(retry_after=AddressGone.RETRY_SECONDS)) for socket, pair in came_by if pair not in leading
    ]


async def _close(refused: list[tuple[Socket, TenantPaused]]) -> None:
    if not refused:
        return
    directory.forget()  # or a new socket would be let in for the rest of 5 seconds
    told = [_tell(socket, error) for socket, error in refused]
    for result in await asyncio.gather(*told, return_exceptions=True):
        if isinstance(result, Exception):
            logger.info("a socket had gone before it was closed", extra={"error": type(result).__name__})


async def _tell(socket: Socket, error: TenantPaused) -> None:
    async with asyncio.timeout(TELL_SECONDS):
        await socket.pause(error)
