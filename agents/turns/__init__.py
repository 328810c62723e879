"""The turn engine: answers run as tasks of the process, sockets follow them (architecture, section 6)."""

import asyncio
import logging

from agents.turns import running, sweep
from agents.turns.running import follow, launch, open_turn, start, stop

__all__ = ["begin", "drain", "follow", "launch", "open_turn", "start", "stop"]

logger = logging.getLogger(__name__)
DRAIN_SECONDS = 25
_keeper: asyncio.Task | None = None


async def begin() -> None:
    """Before the process takes traffic: keep leases, watch for turns whose owner died."""
    global _keeper
    _keeper = asyncio.create_task(sweep.keep(), name="leases")


async def drain() -> None:
    """Before the process ends: let running turns finish, at most DRAIN_SECONDS. The rest is taken over elsewhere."""
    running.draining = True  # leases are still renewed, but nothing is taken over
    deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
    while running.here() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
    if left := running.here():
        logger.warning("turns left to others", extra={"count": len(left)})
    if _keeper:
        _keeper.cancel()
