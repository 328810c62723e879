"""Tells operators that answers are read by litellm's own iterator where we could read them at a tenth of the cost."""

import logging
from importlib.metadata import version

import redis

from tenants import store

logger = logging.getLogger(__name__)
SHOWN_SECONDS = 3600  # then the next such answer says it again


async def say() -> None:
    """Show it on the operators' first page, and log it unless it stands there. One round trip."""
    from metering.attention import SLOW_READING_KEY  # with the models, which agents.llm does without

    installed = version("litellm")
    try:
        is_news = await store.aclient().set(SLOW_READING_KEY, installed, nx=True, ex=SHOWN_SECONDS)
    except redis.RedisError as error:
        logger.warning("operators not told", extra={"error": type(error).__name__})
        return
    if is_news:
        logger.warning("answers are read by litellm's iterator", extra={"litellm": installed})
