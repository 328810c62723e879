"""The one client of a process, what was learned through it, and what to do when the store does not answer.

What a chat waits for goes past the client: making a request with it takes as long as the search itself.
"""

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import orjson
import urllib3
from django.conf import settings
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from knowledge.errors import VectorStoreDown
from platform_site.circuit_breaker import CircuitBreaker

RETRY_AFTER_SECONDS = 5
WRITE_PAUSES = (0.2, 1.0, 2.0)  # seconds before trying again; a restarted store is back within
READ_PAUSES = (0.05,)

KEPT_CONNECTIONS = 50
TIMEOUT_SECONDS = 10
SEARCH_SECONDS = 3  # somebody who chats waits for it
OPEN_SECONDS = 5  # after a read in vain, for which nobody else waits in vain
# What a restarted store shows to a connection that was kept: the request was not carried out, or may be repeated
BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError, urllib3.exceptions.ProtocolError,
          urllib3.exceptions.NewConnectionError)  # fmt: skip
TIMEOUTS = (httpx.TimeoutException, urllib3.exceptions.TimeoutError)

Answer = TypeVar("Answer")


class Connection:
    """A client, a bare way to the same store, and what is known of its collections (see `collection.facts_of`)."""

    def __init__(self, client: QdrantClient, pool: urllib3.HTTPConnectionPool, headers: dict[str, str], path: str):
        self.client, self.pool = client, pool
        self.facts: dict[str, tuple] = {}
        self.breaker = CircuitBreaker(OPEN_SECONDS)
        # by collection: one that is slow must not hold the threads of other tenants' searches again and again
        self.breakers: defaultdict[str, CircuitBreaker] = defaultdict(partial(CircuitBreaker, OPEN_SECONDS))
        self._headers, self._path = headers, path

    def fetch(self, path: str, body: dict | None) -> dict:
        """The JSON that the store answers a POST with, or without a body a GET.

        Raises  ResponseHandlingException, UnexpectedResponse
        """
        method, sent = ("POST", orjson.dumps(body)) if body is not None else ("GET", None)
        try:
            answer = self.pool.urlopen(method, self._path + path, body=sent, headers=self._headers, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise ResponseHandlingException(error) from error
        if answer.status != 200:
            raise UnexpectedResponse(answer.status, answer.reason or "", answer.data, httpx.Headers(answer.headers))
        return orjson.loads(answer.data)


def connection() -> Connection:
    """This process's connection to the configured store."""
    return _connect(settings.QDRANT_URL, settings.QDRANT_API_KEY)


@lru_cache(maxsize=1)
def _connect(url: str, api_key: str) -> Connection:
    """One client for the process; its sockets must not be shared with a fork."""
    here = _is_loopback(urlsplit(url).hostname or "")
    if here:  # the key cannot be overheard
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
    client = QdrantClient(
        url=url,
        port=urlsplit(url).port or (443 if url.startswith("https:") else 6333),
        api_key=api_key or None,
        timeout=TIMEOUT_SECONDS,
        check_compatibility=False,  # it would block here for a request
        # Without limits the client keeps no connection to the loopback address. A server keeps an idle
        # one for 5 seconds, so it must be us who close it first.
        limits=httpx.Limits(
            max_connections=KEPT_CONNECTIONS, max_keepalive_connections=KEPT_CONNECTIONS, keepalive_expiry=4
        ),
        trust_env=not here,  # a proxy does not know our loopback
    )
    headers = {"Content-Type": "application/json"} | ({"api-key": api_key} if api_key else {})
    return Connection(client, _pool(url, here), headers, urlsplit(url).path.rstrip("/"))


def _pool(url: str, here: bool) -> urllib3.HTTPConnectionPool:
    """Connections to the same place by the same ways; one that the server has closed meanwhile is made anew."""
    parts = urlsplit(url)
    proxy = None if here or proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    options = {"maxsize": KEPT_CONNECTIONS, "timeout": SEARCH_SECONDS}
    manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    port = parts.port or (443 if parts.scheme == "https" else 6333)
    return manager.connection_from_host(parts.hostname, port, parts.scheme)


os.register_at_fork(after_in_child=_connect.cache_clear)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ping() -> float:
    """Seconds that the store takes to answer; needs no tenant. Raises VectorStoreDown."""
    started = time.perf_counter()
    _ask(lambda client: client.collection_exists("ping"), pauses=())
    return time.perf_counter() - started


class StoreSilent(VectorStoreDown):
    """It has answered nobody lately, and was not asked."""


def read(call: Callable[[QdrantClient], Answer]) -> Answer:
    """Ask with little patience: somebody waits for the answer. A store that is silent is not asked."""
    with connection().breaker.asking(partial(StoreSilent, retry_after=RETRY_AFTER_SECONDS), is_failure=_timed_out):
        return _ask(call, READ_PAUSES)


def _timed_out(error: Exception) -> bool | None:
    """None: it was not asked."""
    if isinstance(error, StoreSilent):
        return None
    source = getattr(error.__cause__, "source", None)
    return isinstance(source, TIMEOUTS) and not isinstance(source, BROKEN)  # urllib3 counts a refusal as both


def write(call: Callable[[QdrantClient], Answer]) -> Answer:
    """Ask with the patience to see a store restarted."""
    return _ask(call, WRITE_PAUSES)


def unless_missing(ask, call: Callable):
    """What `read` or `write` answers to the call, or None where the collection does not exist."""
    try:
        return ask(call)
    except UnexpectedResponse as error:
        if error.status_code != 404:
            raise
        return None


def fetch(collection: str, path: str = "", body: dict | None = None) -> dict | None:
    """`read` past the client: the JSON to a POST, or without a body a GET. None: there is no such collection."""
    breaker, whole = connection().breakers[collection], f"/collections/{collection}{path}"
    with breaker.asking(partial(StoreSilent, retry_after=RETRY_AFTER_SECONDS), is_failure=_timed_out):
        return unless_missing(read, lambda _: connection().fetch(whole, body))


def _ask(call: Callable, pauses: tuple[float, ...]):
    """Call with the client; where the connection fails, again after each pause. Every call may be repeated.

    Raises  VectorStoreDown; UnexpectedResponse for what the store says is our mistake (404 among them)
    """
    for pause in (*pauses, None):  # None: the last attempt
        try:
            return call(connection().client)
        except ResponseHandlingException as error:
            if pause is None or not isinstance(error.source, BROKEN):
                raise VectorStoreDown(retry_after=RETRY_AFTER_SECONDS) from error
        except ResourceExhaustedResponse as error:
            raise VectorStoreDown(retry_after=error.retry_after_s) from error
        except UnexpectedResponse as error:
            if error.status_code in (400, 404, 409, 413, 422):
                raise
            raise VectorStoreDown(retry_after=RETRY_AFTER_SECONDS) from error
        time.sleep(pause)  # on a thread that waits for nothing else; 0.05 s where somebody chats
    return None
