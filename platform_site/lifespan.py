"""What the web process does before it takes traffic and before it ends."""

import asyncio
import gc
import logging

from agents import llm, places, turns
from knowledge import vectors

logger = logging.getLogger(__name__)

YOUNG_OBJECTS = 10_000  # between two looks for rubbish; Python's own 700 mean several looks in each answer


async def lifespan(scope, receive, send):
    """ASGI lifespan: load the heavy libraries first (it takes seconds), let running turns finish last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await asyncio.to_thread(_load)
            await turns.begin()
            await places.begin()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await turns.drain()
            await llm.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _load() -> None:
    """What is loaded stays: to look through its half a million objects for rubbish would stop the loop for 0.2 s."""
    llm.warm()
    vectors.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
