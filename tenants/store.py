"""The process's clients of the Redis-protocol server. Keys come from tenants.keys, always."""

import asyncio
import os
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings

_sync: redis.Redis | None = None
_async: "WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]" = WeakKeyDictionary()


def client() -> redis.Redis:
    """The synchronous client; its pool is safe between threads."""
    global _sync
    if _sync is None:
        _sync = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=2)
    return _sync


def aclient() -> redis.asyncio.Redis:
    """The asynchronous client of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _async:
        # A request cancelled midway must not leave its answer to the next one (ChatGPT, 20 March 2023):
        # redis-py drops such a connection instead of pooling it.
        _async[loop] = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=2, health_check_interval=30
        )
    return _async[loop]


def _forget() -> None:
    """A forked child must not share its parent's sockets."""
    global _sync
    _sync = None
    _async.clear()


os.register_at_fork(after_in_child=_forget)
