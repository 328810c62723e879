"""The process's clients of the Redis-protocol server. Keys come from tenants.keys, always."""

import asyncio
import os
from contextlib import AbstractContextManager, ExitStack
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.client import Pipeline

from platform_site.circuit_breaker import CircuitBreaker

MOST_CONNECTIONS = 1000  # of the synchronous client: more than there are threads that may hold one
OPEN_SECONDS = 2  # after a wait in vain, for which nobody else waits in vain: a turn asks several times

_breaker = CircuitBreaker(OPEN_SECONDS)
_sync: "_Client | None" = None
_async: "WeakKeyDictionary[asyncio.AbstractEventLoop, _AsyncClient]" = WeakKeyDictionary()


class Silent(redis.ConnectionError):
    """The server has answered nobody for a moment and was not asked."""

    def __init__(self):
        super().__init__("the server does not answer")


def asking() -> AbstractContextManager[None]:
    """Inside, the server is asked. Raises Silent instead while it leaves all who ask without an answer."""
    return _breaker.asking(Silent, is_failure=_timed_out)


def is_silent() -> bool:
    """Whether the server is not to be asked at the moment."""
    return _breaker.is_open


def _timed_out(error: Exception) -> bool:
    return isinstance(error, redis.TimeoutError)


class _Pipeline(Pipeline):
    def execute(self, raise_on_error=True):
        with asking():
            return super().execute(raise_on_error)


class _Client(redis.Redis):
    def execute_command(self, *args, **options):
        with asking():
            return super().execute_command(*args, **options)

    def pipeline(self, transaction=True, shard_hint=None):
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _AsyncPipeline(AsyncPipeline):
    async def execute(self, raise_on_error=True):
        with asking():
            return await super().execute(raise_on_error)


class _AsyncClient(redis.asyncio.Redis):
    async def execute_command(self, *args, **options):
        with asking():
            return await super().execute_command(*args, **options)

    def pipeline(self, transaction=True, shard_hint=None):
        return _AsyncPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class Sent:
    """A command on its way to the server; its answer is read later, on any one thread, and must be read."""

    def __init__(self, *command: str | int):
        """Send it. Raises redis.RedisError; then it may have arrived all the same.

        Silent also after OPEN_SECONDS, until somebody who waits was answered: this would be noticed too late.
        """
        if not _breaker.is_closed:
            raise Silent
        with ExitStack() as held:
            held.enter_context(_breaker.noting_failures(is_failure=_timed_out))
            pool = client().connection_pool
            self._connection = pool.get_connection()
            held.callback(pool.release, self._connection)
            self._connection.send_command(*command)
            self._held = held.pop_all()

    def answer(self) -> object:
        """What the server says. Raises redis.RedisError."""
        with self._held:
            return self._connection.read_response()  # what fails midway closes the connection


def client() -> redis.Redis:
    """The synchronous client; its pool is safe between threads."""
    global _sync
    if _sync is None:
        _sync = _Client.from_url(settings.REDIS_URL, **settings.REDIS_TIMEOUTS, max_connections=MOST_CONNECTIONS)
    return _sync


def aclient() -> redis.asyncio.Redis:
    """The asynchronous client of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _async:
        # A request cancelled midway must not leave its answer to the next one (ChatGPT, 20 March 2023):
        # redis-py drops such a connection instead of pooling it.
        _async[loop] = _AsyncClient.from_url(settings.REDIS_URL, **settings.REDIS_TIMEOUTS, health_check_interval=30)
    return _async[loop]


def _forget() -> None:
    """A forked child must not share its parent's sockets, nor a lock that another thread held."""
    global _sync, _breaker
    _sync, _breaker = None, CircuitBreaker(OPEN_SECONDS)
    _async.clear()


os.register_at_fork(after_in_child=_forget)
