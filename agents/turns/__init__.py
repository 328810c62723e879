"""The turn engine: answers run as tasks of the process, sockets follow them (architecture, section 6)."""

import asyncio
import logging
from uuid import UUID

from django.conf import settings

from agents.turns import radio, running, stream, sweep
from agents.turns.asking import open_turn, start
from agents.turns.running import follow, launch, stop
from platform_site import ending

__all__ = ["begin", "drain", "follow", "launch", "open_turn", "start", "stop"]

logger = logging.getLogger(__name__)
_keeper: asyncio.Task | None = None


async def begin() -> None:
    """Before the process takes traffic: keep leases, tell and hear of turns, watch for those whose owner died."""
    global _keeper
    stream.begin()
    await radio.begin(_obey)
    _keeper = asyncio.create_task(sweep.keep(), name="leases")


def _obey(message: bytes) -> None:
    """What another process asks of all."""
    word, _, rest = message.decode().partition(" ")
    if word == "stop":
        tenant_id, _, turn = rest.partition(":")
        running.stop_here(int(tenant_id), UUID(turn))
    elif word == "sweep":
        sweep.begin()


async def drain() -> None:
    """Before the process ends: let running turns finish. After settings.TURN_DRAIN_SECONDS, others take them over."""
    ending.begin()
    deadline = asyncio.get_running_loop().time() + settings.TURN_DRAIN_SECONDS
    while (running.here() or sweep.is_under_way()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
    if left := await running.hand_over():
        logger.warning("turns left to others", extra={"count": left})
    if _keeper:
        _keeper.cancel()
    await stream.end()
    await radio.end()
