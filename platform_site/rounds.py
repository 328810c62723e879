"""Work that a process does again and again on its event loop, whatever becomes of one round."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


async def every(seconds: float, work: Callable[[], Awaitable], *, fault: str, wanted: Callable = lambda: True) -> None:
    """Wait, work, and again as long as it is wanted.

    fault  what the log says of a round that failed
    """
    while wanted():
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:  # nobody awaits this task, and the rounds to come must not end with this one
            logger.exception(fault)
