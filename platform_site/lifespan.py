"""What the web process does before it takes traffic and before it ends."""

import asyncio
import gc
import logging
import os

from agents import llm, places, turns
from knowledge import vectors

logger = logging.getLogger(__name__)

YOUNG_OBJECTS = 10_000  # between two looks for rubbish; Python's own 700 mean several looks in each answer


async def lifespan(scope, receive, send):
    """ASGI lifespan: load the heavy libraries first (it takes seconds), let running turns finish last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _wait_for_each_other()
            await asyncio.to_thread(_load)
            await turns.begin()
            await places.begin()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await turns.drain()
            await llm.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _wait_for_each_other() -> None:
    """Let threads that wake wait for the one that runs: it holds the interpreter, without which they can do nothing.

    Otherwise the kernel puts it aside for them, and back again when they find that out, nine times in a turn. Threads
    begun from here on do the same. What an operator has set is left alone.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # some containers forbid it
        logger.info("threads are not scheduled as a batch", extra={"error": type(error).__name__})


def _load() -> None:
    """What is loaded stays: to look through its half a million objects for rubbish would stop the loop for 0.2 s."""
    llm.warm()
    vectors.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
