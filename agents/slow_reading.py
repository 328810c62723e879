"""Tells operators that answers are read by litellm's own iterator where we could read them at a tenth of the cost."""

import logging
import time
from importlib.metadata import version

import redis

from tenants import store

logger = logging.getLogger(__name__)
AGAIN_SECONDS = 600
SHOWN_SECONDS = 3600  # after the last time

_said_at = -AGAIN_SECONDS


async def say() -> None:
    """Log it, and show it on the operators' first page; at most once in AGAIN_SECONDS."""
    global _said_at
    if time.monotonic() - _said_at < AGAIN_SECONDS:
        return
    from metering.attention import SLOW_READING_KEY  # with the models, which agents.llm does without

    _said_at = time.monotonic()
    installed = version("litellm")
    logger.warning("answers are read by litellm's iterator", extra={"litellm": installed})
    try:
        await store.aclient().set(SLOW_READING_KEY, installed, ex=SHOWN_SECONDS)
    except redis.RedisError as error:
        logger.warning("operators not told", extra={"error": type(error).__name__})
