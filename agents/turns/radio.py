"""This process's one subscription in Valkey: what other processes say of their turns, and what they ask of ours.

Messages may be lost while the connection is away; whoever listens looks again by itself after some time.
"""

import asyncio
import logging
from collections.abc import Callable

import redis
import redis.asyncio

from tenants import store
from tenants.keys import system_key

logger = logging.getLogger(__name__)

CONTROL = system_key("turns", "control")
CONFIRM_SECONDS = 2
RETRY_SECONDS = 0.5
# The latter where another task has just found the line broken: the client writes to what is no longer there
BROKEN = (redis.RedisError, AttributeError, RuntimeError)

Listener = Callable[[bytes], None]

_listeners: dict[str, Listener] = {}
_confirmed: dict[str, asyncio.Event] = {}
_subscription: redis.asyncio.client.PubSub | None = None
_reader: asyncio.Task | None = None


async def begin(control: Listener) -> None:
    """Listen from now on; ``control`` hears what is said to all processes. A store that is away is tried again."""
    global _subscription, _reader
    _subscription = store.aclient().pubsub(ignore_subscribe_messages=False)
    _listeners[CONTROL] = control
    _reader = asyncio.create_task(_read(), name="turn radio")


async def end() -> None:
    """Listen no more."""
    global _subscription, _reader
    if _reader:
        _reader.cancel()
    if _subscription:
        await _subscription.aclose()
    _subscription = _reader = None
    _listeners.clear()
    _confirmed.clear()


async def tune_in(channel: str, listener: Listener) -> None:
    """Hear a channel. Returns when the store has confirmed, or does not answer: then the listener must look itself."""
    confirmed = asyncio.Event()
    _listeners[channel], _confirmed[channel] = listener, confirmed
    if _subscription is None:
        return
    try:
        await _subscription.subscribe(channel)
    except BROKEN as error:
        logger.warning("not subscribed", extra={"error": type(error).__name__})
        return
    try:
        await asyncio.wait_for(confirmed.wait(), CONFIRM_SECONDS)
    except TimeoutError:
        logger.warning("subscription not confirmed")


async def tune_out(channel: str, listener: Listener) -> None:
    """Hear it no more, unless another listener has taken the channel over."""
    if _listeners.get(channel) != listener:
        return
    _listeners.pop(channel)
    _confirmed.pop(channel, None)
    if _subscription is None:
        return
    try:
        await _subscription.unsubscribe(channel)
    except BROKEN as error:
        logger.info("not unsubscribed", extra={"error": type(error).__name__})


async def tell_all(text: str) -> None:
    """Say something to every process. Raises redis.RedisError."""
    await store.aclient().publish(CONTROL, text)


async def _read() -> None:
    """Hand each message to its listener; after a fault, the client connects and subscribes again by itself."""
    while True:
        try:
            await _subscription.subscribe(CONTROL)
            async for message in _subscription.listen():
                _hear(message)
        except BROKEN as error:
            logger.warning("turn radio is silent", extra={"error": type(error).__name__})
        except Exception:  # the outermost frame of a task that must outlive any fault
            logger.exception("turn radio failed")
        await asyncio.sleep(RETRY_SECONDS)


def _hear(message: dict) -> None:
    channel = message["channel"].decode()
    if message["type"] == "subscribe" and channel in _confirmed:
        _confirmed[channel].set()
    elif message["type"] == "message" and channel in _listeners:
        _listeners[channel](message["data"])
